"""A client of an OCI registry that shows what is on the wire, and what tests push by it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from oci_registry.settings import RegistrySettings

__all__ = [
    "CONFIG",
    "IMAGE",
    "INDEX",
    "Answer",
    "OpenRegistry",
    "RegistryClient",
    "descriptor",
    "send_and_cut",
    "sha256",
    "sha512",
]

IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def sha512(content: bytes) -> str:
    return "sha512:" + hashlib.sha512(content).hexdigest()


def descriptor(content: bytes, media_type: str = LAYER, **more: object) -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": sha256(content),
        "size": len(content),
        **more,
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error, which is in the form of the specification."""
        assert self.status >= 400
        assert self.headers["Content-Type"].startswith("application/json")
        (error,) = self.json["errors"]
        assert error.keys() <= {"code", "message", "detail"}
        assert error["message"]
        return str(error["code"])

    @property
    def location(self) -> str:
        return self.headers["Location"]


class RegistryClient:
    """Sends requests as they are given: no redirects, no headers of its own."""

    def __init__(self, session: aiohttp.ClientSession, base: URL) -> None:
        self.session = session
        self.base = base

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        """Send a request; ``status`` is what the answer is to have."""
        async with self.session.request(
            method,
            self.base.join(URL(path, encoded=True)),
            # aiohttp warns of large bodies that are plain bytes.
            data=io.BytesIO(body) if isinstance(body, bytes) and body else body,
            headers=headers,
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
            **options,
        ) as response:
            answer = Answer(response.status, response.headers, await response.read())
        if status is not None:
            assert answer.status == status, answer
        return answer

    async def start(self, name: str, query: str = "") -> str:
        """Begin an upload; returns its location."""
        answer = await self.ask("POST", f"/v2/{name}/blobs/uploads/{query}", status=202)
        return answer.location

    async def push_blob(self, name: str, content: bytes) -> str:
        """Push a blob; returns its digest."""
        digest = sha256(content)
        path = f"/v2/{name}/blobs/uploads/?digest={digest}"
        await self.ask("POST", path, content, status=201)
        return digest

    async def push_manifest(
        self, name: str, reference: str, manifest: Mapping[str, Any], status: int = 201
    ) -> Answer:
        """Push a manifest under the media type that it says."""
        return await self.ask(
            "PUT",
            f"/v2/{name}/manifests/{reference}",
            json.dumps(manifest).encode(),
            headers={"Content-Type": manifest["mediaType"]},
            status=status,
        )

    async def image(
        self, name: str, *layers: bytes, config: bytes = b"{}", **more: object
    ) -> dict[str, Any]:
        """Push the blobs of an image; returns its manifest, which is not pushed."""
        for blob in {config, *layers}:
            await self.push_blob(name, blob)
        return {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": descriptor(config, CONFIG),
            "layers": [descriptor(layer) for layer in layers],
            **more,
        }

    async def push_image(self, name: str, reference: str, *layers: bytes, **more: Any) -> str:
        """Push an image whole; returns its digest."""
        manifest = await self.image(name, *layers, **more)
        answer = await self.push_manifest(name, reference, manifest)
        return answer.headers["Docker-Content-Digest"]

    async def tags(self, name: str, query: str = "") -> Sequence[str]:
        answer = await self.ask("GET", f"/v2/{name}/tags/list{query}", status=200)
        assert answer.json["name"] == name
        tags: list[str] = answer.json["tags"]
        return tags

    async def referrers(self, name: str, subject: str, query: str = "") -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/v2/{name}/referrers/{subject}{query}", status=200)
        assert answer.headers["Content-Type"] == INDEX
        assert answer.json["schemaVersion"] == 2
        assert answer.json["mediaType"] == INDEX
        manifests: list[dict[str, Any]] = answer.json["manifests"]
        return manifests


async def send_and_cut(registry: RegistryClient, method: str, path: str, part: bytes) -> None:
    """Send the beginning of a longer body, and cut the connection."""
    assert registry.base.host is not None
    reader, writer = await asyncio.open_connection(registry.base.host, registry.base.port)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(part) + 1000}\r\n\r\n"
    writer.write(head.encode() + part)
    await writer.drain()
    await asyncio.sleep(0.05)  # so that what was sent is read before the end is seen
    writer.transport.abort()
    with suppress(OSError, asyncio.IncompleteReadError):
        await reader.readexactly(1)
        raise AssertionError("the registry answered what was not sent whole")


OpenRegistry: TypeAlias = Callable[[RegistrySettings], Awaitable[RegistryClient]]
"""Opens one more instance of a registry, with settings, on the driver of the test."""
