"""Skopeo, as a client of registries over plain HTTP, and the images that it pushes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from registry_client import IMAGE, INDEX, descriptor, sha256

__all__ = ["SKOPEO", "OciLayout", "Skopeo", "SkopeoError", "layer"]

SKOPEO: Final = shutil.which("skopeo")
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class SkopeoError(Exception):
    """It failed; this is what it said."""


class Skopeo:
    """All that it keeps (policies, its cache of blobs, temporary files) is below ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in ("registries.d", "run", "tmp"):
            (home / name).mkdir(parents=True, exist_ok=True)

    async def copy(self, source: str, dest: str, *options: str) -> str:
        """Copy an image; returns the digest of its manifest at ``dest``."""
        digest_file = self.home / "tmp" / hashlib.sha256(dest.encode()).hexdigest()
        await self.run(
            *("copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"),
            *("--digestfile", str(digest_file), *options, source, dest),
        )
        return digest_file.read_text().strip()

    async def raw(self, image: str) -> bytes:
        """The manifest, as it is stored."""
        return await self.run("inspect", "--tls-verify=false", "--raw", image)

    async def inspect(self, image: str) -> dict[str, Any]:
        inspected: dict[str, Any] = json.loads(
            await self.run("inspect", "--tls-verify=false", image)
        )
        return inspected

    async def tags(self, repository: str) -> list[str]:
        listed = await self.run("list-tags", "--tls-verify=false", repository)
        tags: list[str] = json.loads(listed)["Tags"]
        return tags

    async def delete(self, image: str) -> None:
        await self.run("delete", "--tls-verify=false", image)

    async def run(self, *arguments: str) -> bytes:
        assert SKOPEO is not None
        process = await asyncio.create_subprocess_exec(
            *(SKOPEO, "--insecure-policy", "--tmpdir", str(self.home / "tmp")),
            *("--registries.d", str(self.home / "registries.d"), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "TMPDIR": str(self.home / "tmp"),
                "XDG_DATA_HOME": str(self.home / "data"),
                "XDG_RUNTIME_DIR": str(self.home / "run"),
                # For root, the cache of blobs would be one for the whole machine.
                "_CONTAINERS_ROOTLESS_UID": "1000",
            },
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise SkopeoError(errors.decode())
        return output


@dataclass(frozen=True, slots=True)
class _Layer:
    compressed: bytes
    diff_id: str


def layer(name: str, content: bytes) -> _Layer:
    """A layer of one file, compressed: skopeo would compress it on its way, otherwise."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return _Layer(gzip.compress(tar.getvalue(), 1, mtime=0), sha256(tar.getvalue()))


class OciLayout:
    """A directory of images in OCI's layout, a tag each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tagged: list[dict[str, Any]] = []
        (directory / "blobs" / "sha256").mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def __getitem__(self, tag: str) -> str:
        """The name of an image, for skopeo."""
        return f"oci:{self.directory}:{tag}"

    def add_image(
        self, tag: str, *layers: _Layer, architecture: str = "amd64"
    ) -> tuple[str, dict[str, Any]]:
        """Add an image; returns its digest, and its descriptor for an index."""
        described = self._add_image(
            tag,
            [self._add(layer.compressed, _LAYER) for layer in layers],
            [layer.diff_id for layer in layers],
            architecture,
        )
        return self._tag(tag, described), described

    def add_large_image(self, tag: str, content: Iterable[bytes]) -> str:
        """Add an image of one layer, which is never in memory; returns the image's digest."""
        blobs = self.directory / "blobs" / "sha256"
        packer = zlib.compressobj(0, wbits=31)  # a gzip file, not made smaller
        packed, unpacked = hashlib.sha256(), hashlib.sha256()
        with (blobs / "large").open("wb") as file:
            for chunk in content:
                unpacked.update(chunk)
                packed.update(piece := packer.compress(chunk))
                file.write(piece)
            packed.update(piece := packer.flush())
            file.write(piece)
            size = file.tell()
        (blobs / "large").rename(blobs / packed.hexdigest())
        described = {
            "mediaType": _LAYER,
            "digest": f"sha256:{packed.hexdigest()}",
            "size": size,
        }
        diff_ids = [f"sha256:{unpacked.hexdigest()}"]
        return self._tag(tag, self._add_image(tag, [described], diff_ids, "amd64"))

    def add_index(self, tag: str, images: Sequence[dict[str, Any]]) -> str:
        """Add an index of images; returns its digest."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": images}
        return self._tag(tag, self._add(json.dumps(index).encode(), INDEX))

    def _add_image(
        self, tag: str, layers: list[dict[str, Any]], diff_ids: list[str], architecture: str
    ) -> dict[str, Any]:
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": {"tag": tag}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": self._add(json.dumps(config).encode(), _CONFIG),
            "layers": layers,
        }
        return {
            **self._add(json.dumps(manifest).encode(), IMAGE),
            "platform": {"architecture": architecture, "os": "linux"},
        }

    def _add(self, content: bytes, media_type: str) -> dict[str, Any]:
        described = descriptor(content, media_type)
        digest: str = described["digest"]
        (self.directory / "blobs" / digest.replace(":", "/")).write_bytes(content)
        return described

    def _tag(self, tag: str, described: dict[str, Any]) -> str:
        name = {"annotations": {"org.opencontainers.image.ref.name": tag}}
        self._tagged.append({**described, **name})
        index = {"schemaVersion": 2, "manifests": self._tagged}
        (self.directory / "index.json").write_text(json.dumps(index))
        digest: str = described["digest"]
        return digest
