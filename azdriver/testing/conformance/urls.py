"""URLs, tried with a plain HTTP client."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from azdriver.contract import StorageDriver
from azdriver.errors import InvalidExpiryError, UnsupportedMethodError
from azdriver.testing.conformance.capabilities import ConformanceBase, random_bytes, store_stream


async def _request(method: str, url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session:
        async with session.request(method, url) as response:
            return response.status, await response.read()


class UrlConformance(ConformanceBase):
    """``url_for``."""

    def _require_signing(self) -> None:
        if not self.capabilities.signs_urls:
            pytest.skip("this driver signs no URLs")

    async def test_a_driver_that_cannot_sign_says_so(self, driver: StorageDriver) -> None:
        if self.capabilities.signs_urls:
            pytest.skip("this driver signs URLs")
        await driver.put_content("/a", b"x")
        with pytest.raises(UnsupportedMethodError) as caught:
            await driver.url_for("/a")
        assert str(caught.value).startswith(f"{driver.name}: unsupported: ")

    async def test_anyone_can_get_the_blob_by_its_url(self, driver: StorageDriver) -> None:
        self._require_signing()
        content = random_bytes(5000)
        for path in ("/a", "/a/b.c/-_.d", "/0/..x/UPPER"):
            await driver.put_content(path, content)
            assert await _request("GET", await driver.url_for(path)) == (200, content)

    async def test_anyone_can_get_a_stream_by_its_url(self, driver: StorageDriver) -> None:
        self._require_signing()
        content = random_bytes(5000)
        await store_stream(driver, "/a", content)
        assert await _request("GET", await driver.url_for("/a")) == (200, content)

    async def test_anyone_can_head_the_blob_by_its_url(self, driver: StorageDriver) -> None:
        self._require_signing()
        await driver.put_content("/a", b"12345")
        url = await driver.url_for("/a", method="HEAD")
        async with aiohttp.ClientSession() as session, session.head(url) as response:
            assert response.status == 200
            assert response.headers["Content-Length"] == "5"

    async def test_an_url_opens_one_blob_for_reading_only(self, driver: StorageDriver) -> None:
        self._require_signing()
        await driver.put_content("/a/one", b"one")
        await driver.put_content("/a/two", b"two")
        url = await driver.url_for("/a/one")
        for method, target in (
            ("PUT", url),
            ("DELETE", url),
            ("GET", url.replace("/a/one", "/a/two")),
        ):
            status, _ = await _request(method, target)
            assert 400 <= status < 500
        assert await driver.get_content("/a/one") == b"one"

    async def test_an_url_of_a_missing_blob_is_not_found(self, driver: StorageDriver) -> None:
        self._require_signing()
        status, _ = await _request("GET", await driver.url_for("/missing/blob"))
        assert status == 404

    async def test_an_url_expires(self, driver: StorageDriver) -> None:
        self._require_signing()
        await driver.put_content("/a", b"x")
        urls = [
            await driver.url_for("/a", expiry=timedelta(seconds=1)),
            await driver.url_for("/a", expiry=datetime.now(UTC) + timedelta(seconds=1)),
        ]
        await asyncio.sleep(2.1)
        for url in urls:
            status, body = await _request("GET", url)
            assert status in (400, 401, 403)
            assert body != b"x"

    async def test_an_expiry_can_be_a_moment_in_any_zone(self, driver: StorageDriver) -> None:
        self._require_signing()
        await driver.put_content("/a", b"x")
        for zone in (UTC, datetime.now().astimezone().tzinfo):
            url = await driver.url_for("/a", expiry=datetime.now(zone) + timedelta(hours=1))
            assert await _request("GET", url) == (200, b"x")

    @pytest.mark.parametrize(
        "expiry",
        [
            timedelta(0),
            timedelta(seconds=-1),
            datetime(2020, 1, 1, tzinfo=UTC),
            datetime(9000, 1, 1),
        ],
        ids=["now", "before", "past", "naive"],
    )
    async def test_an_impossible_expiry_is_refused(
        self, driver: StorageDriver, expiry: datetime | timedelta
    ) -> None:
        with pytest.raises(InvalidExpiryError) as caught:
            await driver.url_for("/a", expiry=expiry)
        assert caught.value.path == "/a"
        assert str(caught.value).startswith(f"{driver.name}: ")

    @pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "get", ""])
    async def test_other_methods_are_unsupported(self, driver: StorageDriver, method: str) -> None:
        with pytest.raises(UnsupportedMethodError) as caught:
            await driver.url_for("/a", method=method)
        assert repr(method) in caught.value.method
        assert str(caught.value).startswith(f"{driver.name}: ")
