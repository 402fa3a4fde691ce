"""What was found: plain data, without a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["Answer", "BlobCounts", "Diagnosis", "Finding", "LayoutCount", "Severity"]

Severity: TypeAlias = Literal["info", "warning", "error"]
Answer: TypeAlias = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know.

    Attributes:
        severity: ``error``: the driver will not work, or not find the blobs; ``warning``: some of
            it will not, or not well; ``info``.
        code: a short name that stays the same, such as ``layout-legacy-root``.
        text: what was found.
        advice: what to set or to grant; ``""`` if there is nothing to do.
    """

    severity: Severity
    code: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutCount:
    """Blobs of one layout, among those that were looked at.

    Attributes:
        root_directory: what their names start with, as the option has it; of blobs of no registry
            it is the one that is set, or unknown and ``""``.
        legacy_root_prefix: whether there is a slash before it.
        registry: whether it is the tree of a container registry, by which the root directory is
            known for certain.
        blobs: how many.
        size_bytes: of all of them.
        legacy_contents: how many of them are contents that an old driver wrote, most probably.
    """

    root_directory: str
    legacy_root_prefix: bool
    registry: bool
    blobs: int
    size_bytes: int
    legacy_contents: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobCounts:
    """The blobs that were looked at.

    Attributes:
        blobs: how many.
        size_bytes: of all of them.
        is_whole: whether these are all that there are; else they are a sample, of the first blobs
            of each directory at the top and of each part of a registry.
        types: how many of each type.
        legacy_contents: append blobs that are contents which an old driver wrote, most probably.
        streams: the other append blobs; the layers and manifests of a registry count as such.
        snapshots: of blobs.
        leased: blobs with a lease.
        uncommitted: blobs of which there are staged blocks only.
        no_paths: names that are those of no path in any layout.
        backups: what a migration that was killed left to the next one.
        superseded: what a migration has kept of blobs that others wrote while it converted them.
        of_more_registries: blobs of registries beyond those that are told apart.
        examples: some of the names, by what they are examples of.
    """

    blobs: int = 0
    size_bytes: int = 0
    is_whole: bool = True
    types: Mapping[str, int] = field(default_factory=dict)
    legacy_contents: int = 0
    streams: int = 0
    snapshots: int = 0
    leased: int = 0
    uncommitted: int = 0
    no_paths: int = 0
    backups: int = 0
    superseded: int = 0
    of_more_registries: int = 0
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What :func:`examine` found.

    Attributes:
        account_url: the endpoint.
        container: the container.
        credential: its kind, such as ``SharedKey``.
        is_emulator: whether it is Azurite.
        clock_skew_seconds: the service's clock less this machine's; None if no answer told.
        may: what the credential may do, by ``read``, ``list``, ``write``, ``append``, ``delete``,
            ``tags``, ``create_container``, ``sign``.
        features: of the account and the container, as far as it is known: ``sku``,
            ``account_kind``, ``hierarchical_namespace``, ``soft_delete_days`` (0 for off),
            ``versioning``, ``public_access``, ``immutability``.
        layouts: most blobs first.
        counts: of blobs.
        findings: the worst first.
        recommended: parameters, as the registry's configuration names them, to be set otherwise
            than they are.
    """

    account_url: str
    container: str
    credential: str
    is_emulator: bool = False
    clock_skew_seconds: float | None = None
    may: Mapping[str, Answer] = field(default_factory=dict)
    features: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    layouts: tuple[LayoutCount, ...] = ()
    counts: BlobCounts = BlobCounts()
    findings: tuple[Finding, ...] = ()
    recommended: Mapping[str, str | bool] = field(default_factory=dict)

    @property
    def is_healthy(self) -> bool:
        """Whether there is no error among the findings."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "is_healthy": self.is_healthy}
