"""azdriver, and its variants."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Final

from benchmarks.peers.base import Missing, Peer, Place, Tuning

__all__ = ["Azdriver", "AzdriverBlock", "AzdriverOneRange", "AzdriverSdkLane"]

# What a setting of ours is called there: the first one that exists is taken.
_TUNED_OPTIONS: Final[dict[str, Sequence[str]]] = {
    "connections": ("connections",),
    "in_flight": ("blocks_in_flight",),
    "part_bytes": ("block_bytes",),
    "ranges_in_flight": ("read_ranges_in_flight",),
    "range_bytes": ("read_range_bytes",),
    "lean_lane": ("lean_lane", "use_lean_lane"),
}


class Azdriver(Peer):
    module = "azdriver"
    options: ClassVar[dict[str, Any]] = {}
    """Options of this variant by their own names; what does not exist leaves the variant out."""

    @classmethod
    def make_options(cls, place: Place, tuning: Tuning, more: dict[str, Any]) -> Any:
        from azdriver.azureblob.options import AzureBlobOptions, SharedKey
        from azdriver.errors import ConfigurationError

        known = {field.name for field in dataclasses.fields(AzureBlobOptions)}
        arguments: dict[str, Any] = {}
        wanted: dict[str, Any] = {
            "connections": tuning.connections,
            "in_flight": tuning.in_flight,
            "part_bytes": tuning.part_bytes,
            "ranges_in_flight": tuning.in_flight,
            "range_bytes": tuning.part_bytes,
        }
        for setting, value in wanted.items():
            for name in _TUNED_OPTIONS[setting]:
                if value is not None and name in known:
                    arguments[name] = value
                    break
        for name, value in more.items():
            names = _TUNED_OPTIONS.get(name, (name,))
            found = next((name for name in names if name in known), None)
            if found is None:
                raise Missing(f"AzureBlobOptions has no {' or '.join(names)}")
            arguments[found] = value
        try:
            return AzureBlobOptions(
                account_url=place.endpoint,
                container=place.container,
                credential=SharedKey(place.account_name, place.account_key),
                **arguments,
            )
        except ConfigurationError as error:
            raise Missing(str(error)) from error

    async def open(self) -> None:
        from azdriver import AzureBlobDriver

        options = self.make_options(self.place, self.tuning, dict(self.options))
        self.driver = await self.stack.enter_async_context(AzureBlobDriver(options))

    async def get(self, name: str) -> int:
        return len(await self.driver.get_content("/" + name))

    async def put(self, name: str, data: bytes) -> None:
        await self.driver.put_content("/" + name, data)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        async with self.driver.writer("/" + name) as writer:
            async for chunk in chunks:
                await writer.write(chunk)
            await writer.commit()

    async def read(self, name: str) -> AsyncIterator[int]:
        async with self.driver.reader("/" + name) as reader:
            async for chunk in reader:
                yield len(chunk)

    async def list(self, directory: str) -> int:
        return len(await self.driver.list("/" + directory))

    async def walk(self, directory: str) -> tuple[int, int]:
        count = size = 0
        async for info in self.driver.walk("/" + directory):
            if not info.is_dir:
                count += 1
                size += info.size
        return count, size

    async def delete(self, directory: str) -> None:
        await self.driver.delete("/" + directory)


class AzdriverBlock(Azdriver):
    options: ClassVar[dict[str, Any]] = {"write_mode": "block"}


class AzdriverOneRange(Azdriver):
    """Reads by one request for all: one connection."""

    options: ClassVar[dict[str, Any]] = {"read_range_bytes": 1 << 40}


class AzdriverSdkLane(Azdriver):
    """The switch back to the SDK's own calls."""

    options: ClassVar[dict[str, Any]] = {"lean_lane": False}
