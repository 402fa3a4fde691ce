"""aiohttp by hand, with a signed query: the floor."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from benchmarks.peers.base import MIB, Peer, blocks_of, in_order, spans_of

__all__ = ["Raw"]


class Raw(Peer):
    module = "aiohttp"
    append_bytes: ClassVar[int] = 4 * MIB
    _headers: ClassVar[dict[str, str]] = {"x-ms-version": "2025-01-05"}
    _marker = re.compile(r"<NextMarker>([^<]*)</NextMarker>")
    _entry = re.compile(
        r"<Blob><Name>([^<]*)</Name>.*?<Content-Length>(\d+)</Content-Length>", re.DOTALL
    )

    async def open(self) -> None:
        import aiohttp

        self.session = await self.stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.tuning.connections or 100),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                read_bufsize=512 * 1024,
                raise_for_status=True,
            )
        )
        self.sas = self.place.sas()

    def _url(self, name: str, query: str = "") -> Any:
        import yarl

        base = f"{self.place.endpoint}/{self.place.container}/{quote(name)}"
        return yarl.URL(f"{base}?{query}{'&' if query else ''}{self.sas}", encoded=True)

    async def _send(
        self, method: str, url: Any, data: Any = None, headers: dict[str, str] | None = None
    ) -> bytes:
        async with self.session.request(method, url, data=data, headers=headers) as response:
            return await response.read()

    async def get(self, name: str) -> int:
        return len(await self._send("GET", self._url(name)))

    async def put(self, name: str, data: bytes) -> None:
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Length": str(len(data))}
        # A large body handed over whole would be copied into the loop's write buffer.
        body = data if len(data) <= MIB else _slices(data)
        await self._send("PUT", self._url(name), body, headers)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        await self._send("PUT", self._url(name), b"", {"x-ms-blob-type": "AppendBlob"})
        url = self._url(name, "comp=appendblock")
        async for block in blocks_of(chunks, self.append_bytes):
            await self._send("PUT", url, _slices(block), {"Content-Length": str(len(block))})

    async def read(self, name: str) -> AsyncIterator[int]:
        if self.tuning.in_flight is not None:
            part = self.tuning.part_bytes or 4 * MIB
            size = await self._size(name)
            async for body in in_order(
                spans_of(size, part), lambda a, n: self._range(name, a, n), self.tuning.in_flight
            ):
                yield len(body)
            return
        async with self.session.get(self._url(name)) as response:
            async for chunk in response.content.iter_any():
                yield len(chunk)

    async def _size(self, name: str) -> int:
        async with self.session.head(self._url(name)) as response:
            return int(response.headers["Content-Length"])

    async def _range(self, name: str, first: int, length: int) -> bytes:
        headers = {"x-ms-range": f"bytes={first}-{first + length - 1}"}
        return await self._send("GET", self._url(name), None, headers)

    async def _pages(self, directory: str, more: str = "") -> AsyncIterator[str]:
        marker = ""
        query = f"restype=container&comp=list&prefix={quote(directory + '/', safe='')}{more}"
        base = f"{self.place.endpoint}/{self.place.container}?{query}&{self.sas}"
        while True:
            import yarl

            url = yarl.URL(f"{base}&marker={quote(marker, safe='')}", encoded=True)
            page = (await self._send("GET", url)).decode()
            yield page
            found = self._marker.search(page)
            if found is None or not found[1]:
                return
            marker = found[1]

    async def list(self, directory: str) -> int:
        return sum([page.count("<Name>") async for page in self._pages(directory, "&delimiter=/")])

    async def walk(self, directory: str) -> tuple[int, int]:
        count = size = 0
        async for page in self._pages(directory):
            for match in self._entry.finditer(page):
                count += 1
                size += int(match[2])
        return count, size

    async def delete(self, directory: str) -> None:
        async for page in self._pages(directory):
            names = [match[1] for match in self._entry.finditer(page)]
            for start in range(0, len(names), 256):
                await self._delete_batch(names[start : start + 256])

    async def _delete_batch(self, names: Sequence[str]) -> None:
        path = urlsplit(self.place.endpoint).path
        body = "".join(
            "--batch_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
            f"Content-ID: {n}\r\n\r\n"
            f"DELETE {path}/{self.place.container}/{quote(name)}?{self.sas} HTTP/1.1\r\n"
            "Content-Length: 0\r\n\r\n"
            for n, name in enumerate(names)
        )
        import yarl

        base = f"{self.place.endpoint}/{self.place.container}?restype=container&comp=batch"
        answer = await self._send(
            "POST",
            yarl.URL(f"{base}&{self.sas}", encoded=True),
            f"{body}--batch_1--\r\n".encode(),
            {"Content-Type": "multipart/mixed; boundary=batch_1"},
        )
        if answer.count(b"HTTP/1.1 202") != len(names):
            raise RuntimeError(f"a batch of {len(names)} was not deleted: {answer[:300]!r}")


async def _slices(data: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), 256 * 1024):
        yield view[start : start + 256 * 1024]
