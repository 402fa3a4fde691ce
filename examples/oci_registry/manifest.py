"""A manifest's bytes, read and checked. Nothing here asks storage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.mediatypes import (
    IMAGES,
    INDEXES,
    MANIFESTS,
    NOT_DISTRIBUTABLE,
    OCI_INDEX,
    OCI_MANIFEST,
)
from oci_registry.names import Digest, parse_digest

__all__ = ["Descriptor", "Manifest", "media_type_within", "parse_manifest"]

# What a client says that does not know better.
_GENERIC: Final = frozenset({"", "application/json", "application/octet-stream", "text/plain"})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What one manifest says of another content."""

    media_type: str
    digest: Digest
    has_urls: bool = False

    @property
    def is_manifest(self) -> bool:
        return self.media_type in MANIFESTS

    @property
    def is_elsewhere(self) -> bool:
        """Whether it need not be in this registry."""
        return self.has_urls and self.media_type.startswith(NOT_DISTRIBUTABLE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a registry has to know of a manifest.

    Attributes:
        media_type: as it was pushed, without parameters.
        says_media_type: whether its bytes say so, too.
        references: what it is made of: config and layers, or the manifests of an index.
        subject: what it is about, as a signature is about an image; it need not exist.
        artifact_type: for the list of referrers; None for an index that does not say.
        annotations: its own.
    """

    media_type: str
    says_media_type: bool
    references: Sequence[Descriptor]
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    def descriptor(self, digest: Digest, size: int) -> dict[str, Any]:
        """What a list of referrers says of it."""
        described: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(digest),
            "size": size,
        }
        if self.artifact_type:
            described["artifactType"] = self.artifact_type
        if self.annotations:
            described["annotations"] = self.annotations
        return described


def parse_manifest(content: bytes, media_type: str = "") -> Manifest:
    """Read and check a manifest.

    Args:
        content: its bytes.
        media_type: what it was pushed as, without parameters; empty if that is not known.

    Raises:
        RegistryError: ``MANIFEST_INVALID``.
    """
    document = _document(content)
    if document.get("schemaVersion") != 2:
        raise _invalid("schemaVersion is to be 2")
    told, derived = _media_type_of(document)
    media_type = media_type.strip().lower()
    if media_type in _GENERIC:
        media_type = told or derived
    elif told and told != media_type:
        raise _invalid("mediaType is not the Content-Type")
    if media_type in INDEXES:
        references = _descriptors(document, "manifests")
        artifact_type = _text(document, "artifactType")
    elif media_type in IMAGES:
        config = _descriptor(document.get("config"), "config")
        references = [config, *_descriptors(document, "layers")]
        artifact_type = _text(document, "artifactType") or config.media_type
    else:
        raise _invalid("a media type that this registry does not serve", media_type)
    subject = document.get("subject")
    return Manifest(
        media_type=media_type,
        says_media_type=bool(told),
        references=references,
        subject=None if subject is None else _descriptor(subject, "subject").digest,
        artifact_type=artifact_type,
        annotations=_annotations(document),
    )


def media_type_within(content: bytes) -> tuple[str, bool]:
    """The media type of a manifest, and whether its bytes say so, or only look so."""
    try:
        told, derived = _media_type_of(_document(content))
    except RegistryError:  # not pushed here, or it would have been refused
        return OCI_MANIFEST, False
    return told or derived or OCI_MANIFEST, bool(told)


def _document(content: bytes) -> dict[str, Any]:
    try:
        # As UTF-8, and no other encoding that json would find out. RecursionError: it is nested
        # deeper than any manifest.
        document = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _invalid("a manifest is a JSON document") from None
    if not isinstance(document, dict):
        raise _invalid("a manifest is a JSON object")
    return document


def _media_type_of(document: dict[str, Any]) -> tuple[str, str]:
    """What a document says that it is, and what it is by its fields."""
    is_index = "manifests" in document
    is_image = "config" in document or "layers" in document
    # One content that two clients read as two things is a known attack: CVE-2021-41190.
    if is_index and is_image:
        raise _invalid("it is both an image and an index")
    told = document.get("mediaType", "")
    if not isinstance(told, str):
        raise _invalid("mediaType is to be a text")
    return told, OCI_INDEX if is_index else OCI_MANIFEST if is_image else ""


def _descriptors(document: dict[str, Any], key: str) -> list[Descriptor]:
    listed = document.get(key)
    if not isinstance(listed, list):
        raise _invalid(f"{key} is to be a list")
    return [_descriptor(item, key) for item in listed]


def _descriptor(item: object, key: str) -> Descriptor:
    if not isinstance(item, dict):
        raise _invalid(f"{key} is to have descriptors")
    size, media_type, digest = item.get("size"), item.get("mediaType"), item.get("digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _invalid(f"{key}: size is to be a number of bytes")
    if not isinstance(media_type, str) or not media_type:
        raise _invalid(f"{key}: mediaType is missing")
    if not isinstance(digest, str):
        raise _invalid(f"{key}: digest is missing")
    try:
        parsed = parse_digest(digest)
    except RegistryError as error:
        raise _invalid(f"{key}: {error.message}", digest) from None
    return Descriptor(media_type, parsed, bool(item.get("urls")))


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise _invalid(f"{key} is to be a text")
    return value or None


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    value = document.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise _invalid("annotations is to be an object of texts")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _invalid(message: str, detail: object = None) -> RegistryError:
    return RegistryError(ErrorCode.MANIFEST_INVALID, message, detail)
