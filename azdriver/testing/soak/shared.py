"""What a task does with the paths that all share: their contents show whether they are whole."""

from __future__ import annotations

from azdriver.testing.soak.known import Known, WrongError, digest
from azdriver.testing.soak.load import SHARED_FILES


class SharedOperations(Known):
    """Each checks that no content is torn."""

    async def shared_put(self) -> None:
        path, content = self._shared(), self._content()
        etag = None
        if self._random.random() < 0.5:
            etag = (await self._driver.stat(path)).etag
        await self._driver.put_content(path, content, if_match=etag)

    async def shared_get(self) -> None:
        content = await self._driver.get_content(self._shared())
        self._check_whole(content)

    async def shared_read(self) -> None:
        async with self._driver.reader(self._shared()) as reader:
            content = b"".join([chunk async for chunk in reader])
        self._check_whole(content)

    def _shared(self) -> str:
        return f"/shared/{self._random.randrange(SHARED_FILES)}"

    def _check_whole(self, content: bytes) -> None:
        self._report.bytes += len(content)
        if digest(content[32:]) != content[:32]:
            raise WrongError(f"a torn content of {len(content)} bytes")

    async def prefill(self) -> None:
        for number in range(SHARED_FILES):
            await self._driver.put_content(f"/shared/{number}", self._content())
