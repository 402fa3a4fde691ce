"""Every kind of credential against Azurite: opens, reads, writes, signs or says why it cannot."""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from azure.storage.blob.aio import ContainerClient

from azdriver import (
    AzureBlobDriver,
    AzureBlobOptions,
    BackendError,
    ConfigurationError,
    InvalidExpiryError,
    PathNotFoundError,
    StorageDriverError,
    UnsupportedMethodError,
)
from azdriver.azureblob import (
    Anonymous,
    ClientSecret,
    DefaultCredential,
    RetrySettings,
    TokenCredential,
    signing,
)
from azdriver.azureblob.lean import LeanLane
from azdriver.azureblob.tokens import STORAGE_SCOPE
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send, answer, lose_answer
from azdriver.testing.recording import operation_of
from azdriver.testing.tokens import LocalCredential

FAST = RetrySettings(retries=2, first_delay_seconds=0.01)
SECRET = "c2VjcmV0LWNsaWVudC1zZWNyZXQ~"
lanes = pytest.mark.parametrize("lean_lane", [True, False], ids=["lean", "sdk"])


class Sent:
    """What a driver sends: seen above the network, with nothing taken out."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.faults = Faults(Fault("look", self._look, times=None))

    async def _look(self, request: Any, send: Send) -> Any:
        self.requests.append(request)
        return await send()

    def count(self, operation: str) -> int:
        return [operation_of(request) for request in self.requests].count(operation)


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def by_token(azurite_with_tokens: AzuriteServer, container: str) -> Callable[..., AzureBlobDriver]:
    def driver(
        credential: TokenCredential, *faults: Fault, sent: Sent | None = None, **options: Any
    ) -> AzureBlobDriver:
        used = Faults(*faults, *(sent.faults.faults if sent else ()))
        return AzureBlobDriver(
            AzureBlobOptions(
                **{
                    "account_url": azurite_with_tokens.blob_endpoint,
                    "container": container,
                    "credential": credential,
                    "verify_tls": False,
                    "retry": FAST,
                    **options,
                }
            ),
            wrap_transport=used.wrap,
        )

    return driver


@pytest.fixture
async def http(trusted_certificate: tuple[Path, Path]) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain client, which has no credential."""
    trusted = ssl.create_default_context(cafile=str(trusted_certificate[0]))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:
        yield session


async def every_operation(driver: AzureBlobDriver) -> None:
    await driver.put_content("/a/content", b"content")
    assert await driver.get_content("/a/content") == b"content"
    assert (await driver.stat("/a/content")).size == 7
    async with driver.writer("/a/stream") as writer:
        await writer.write(bytes(1000))
        await writer.close()
    async with driver.writer("/a/stream", append=True) as writer:
        await writer.write(bytes(1000))
        await writer.commit()
    async with driver.reader("/a/stream", 500) as reader:
        assert await reader.read() == bytes(1500)
    await driver.move("/a/stream", "/a/moved")
    assert await driver.list("/a") == ["/a/content", "/a/moved"]
    for number in range(5):
        await driver.put_content(f"/a/tree/{number}", b"")
    assert len([info async for info in driver.walk("/")]) == 9
    await driver.delete("/a")
    assert await driver.list("/") == []


# Token credentials.


@lanes
@pytest.mark.parametrize("write_mode", ["append", "block"])
async def test_a_token_does_everything(
    by_token: Callable[..., AzureBlobDriver], sent: Sent, lean_lane: bool, write_mode: str
) -> None:
    credential = LocalCredential()
    async with by_token(
        credential, sent=sent, lean_lane=lean_lane, write_mode=write_mode
    ) as driver:
        await every_operation(driver)
    # Both pipelines and the members of the batch had the same one.
    assert [scopes for scopes, _ in credential.asked] == [(STORAGE_SCOPE,)]
    [token] = credential.issued
    for request in sent.requests:
        assert request.headers["Authorization"] == f"Bearer {token.token}"
        assert "sig=" not in request.url
        assert not request.url.endswith("?")
    assert sent.count("Blob Batch") == 1
    # Those of the move and of the path itself: the batch left nothing over.
    assert sent.count("Delete Blob") == 2
    assert credential.closed == 0


async def test_each_member_of_a_batch_has_the_token(
    by_token: Callable[..., AzureBlobDriver], sent: Sent
) -> None:
    credential = LocalCredential()
    async with by_token(credential, sent=sent) as driver:
        for number in range(7):
            await driver.put_content(f"/a/{number}", b"")
        await driver.delete("/a")
    [batch] = [request for request in sent.requests if operation_of(request) == "Blob Batch"]
    authorised = f"\r\nAuthorization: Bearer {credential.issued[0].token}\r\n".encode()
    assert batch.content.count(authorised) == 7


async def test_the_headers_of_all_requests_have_no_token(
    by_token: Callable[..., AzureBlobDriver],
) -> None:
    async with by_token(LocalCredential()) as driver:
        await driver.put_content("/a", b"")
        lane = driver._clients.lane
        assert isinstance(lane, LeanLane)
        assert set(lane._headers) == {"x-ms-version", "User-Agent"}


@lanes
async def test_a_token_is_refreshed_once_under_load(
    by_token: Callable[..., AzureBlobDriver], lean_lane: bool
) -> None:
    """32 tasks for six seconds, with tokens of four, which it takes a while to get."""
    credential = LocalCredential(lifetime_seconds=4, delay_seconds=0.2)
    moments: list[float] = []
    get_token = credential.get_token

    async def timed(*scopes: str, **kwargs: Any) -> Any:
        moments.append(time.monotonic())
        return await get_token(*scopes, **kwargs)

    credential.get_token = timed  # type: ignore[method-assign]
    done = 0
    async with by_token(credential, lean_lane=lean_lane) as driver:
        await driver.put_content("/a", b"content")
        end = time.monotonic() + 6

        async def work(number: int) -> None:
            nonlocal done
            while time.monotonic() < end:
                assert await driver.get_content("/a") == b"content"
                await driver.put_content(f"/{number}", b"content")
                done += 1

        async with asyncio.TaskGroup() as group:
            for number in range(32):
                group.create_task(work(number))
    assert done > 64
    assert credential.most_at_once == 1
    # A token serves for half of its time, then the next one is fetched: by one task.
    assert 2 <= len(credential.issued) <= 6
    # Azurite counts in whole seconds, so that a token of four may be good for three.
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert min(gaps) > 1


async def test_a_token_that_the_service_refuses_is_an_error_without_it(
    by_token: Callable[..., AzureBlobDriver],
) -> None:
    credential = LocalCredential(audience="https://vault.azure.net")
    with pytest.raises(BackendError, match="open failed: 403") as caught:
        async with by_token(credential):
            pass
    assert credential.issued[0].token not in f"{caught.value!s}{caught.value!r}"


@lanes
async def test_no_token_is_an_error_and_nothing_was_sent(
    by_token: Callable[..., AzureBlobDriver], sent: Sent, lean_lane: bool
) -> None:
    credential = LocalCredential(lifetime_seconds=60)  # too short for the policies to keep
    async with by_token(credential, sent=sent, lean_lane=lean_lane) as driver:
        credential.error = RuntimeError(f"no login with {SECRET}")
        tokens = driver._clients._tokens
        assert tokens is not None
        tokens._renew_at = tokens._end = 0.0
        sent.requests.clear()
        asked = len(credential.asked)
        for call in (driver.get_content("/a"), driver.put_content("/a", b""), driver.delete("/a")):
            with pytest.raises(BackendError, match="no token from LocalCredential: RuntimeError"):
                await call
        assert sent.requests == []
        assert len(credential.asked) <= asked + 2  # not sent again by the retries


async def test_the_tenant_that_the_service_names_is_taken_in_both_lanes(
    by_token: Callable[..., AzureBlobDriver],
) -> None:
    challenge = (
        "Bearer authorization_uri=https://login.microsoftonline.com/theirs/oauth2/authorize "
        "resource_id=https://evil.example.com"
    )
    fault = answer(
        401, "InvalidAuthenticationInfo", headers={"WWW-Authenticate": challenge}, times=1
    )
    credential = LocalCredential()
    async with by_token(credential, fault) as driver:
        await driver.put_content("/a", b"content")
        assert await driver.get_content("/a") == b"content"
    assert fault.struck == 1
    # And not for the resource that the answer named.
    assert credential.asked == [
        ((STORAGE_SCOPE,), {}),
        ((STORAGE_SCOPE,), {"tenant_id": "theirs"}),
    ]


async def test_a_container_that_a_token_may_not_create_is_no_error(
    by_token: Callable[..., AzureBlobDriver],
) -> None:
    async with by_token(LocalCredential()):
        pass
    refused = answer(403, "AuthorizationPermissionMismatch", on="Create Container")
    async with by_token(LocalCredential(), refused) as driver:
        await driver.put_content("/a", b"content")
    assert refused.struck == 1


@pytest.mark.parametrize(
    "credential", [LocalCredential(), ClientSecret("t", "c", SECRET), DefaultCredential()]
)
def test_a_token_is_not_sent_over_http(credential: TokenCredential) -> None:
    with pytest.raises(ConfigurationError, match="is to be https") as caught:
        AzureBlobOptions(
            account_url="http://127.0.0.1:10000/account",
            container="registry",
            credential=credential,
        )
    assert caught.value.parameter == "account_url"
    given = {
        "accountname": "account",
        "serviceurl": "http://127.0.0.1:10000/account",
        "container": "registry",
        "credentials": {"type": "default_credentials"},
    }
    with pytest.raises(ConfigurationError, match="parameter serviceurl: is to be https"):
        AzureBlobDriver.from_parameters(given)


# Signing.


async def test_an_url_is_signed_by_a_user_delegation_key(
    by_token: Callable[..., AzureBlobDriver], sent: Sent, http: aiohttp.ClientSession
) -> None:
    async with by_token(LocalCredential(), sent=sent) as driver:
        await driver.put_content("/a/one", b"one")
        await driver.put_content("/a/two", b"two")
        urls = await asyncio.gather(*(driver.url_for("/a/one") for _ in range(50)))
        for _ in range(3):
            urls.append(await driver.url_for("/a/one"))
        assert sent.count("Get User Delegation Key") == 1
        query = parse_qs(urlsplit(urls[-1]).query)
        assert (query["sp"], query["sr"], query["spr"]) == (["r"], ["b"], ["https"])
        assert "skoid" in query
        begin, end = (datetime.fromisoformat(query[name][0]) for name in ("skt", "ske"))
        now = datetime.now(UTC)
        assert timedelta(minutes=14) < now - begin < timedelta(minutes=16)
        assert timedelta(hours=23) < end - now < timedelta(hours=25)
        async with http.get(urls[-1]) as response:
            assert (response.status, await response.read()) == (200, b"one")
        # It reads that blob, and does nothing else.
        for method, url in (
            ("GET", urls[-1].replace("/a/one?", "/a/two?")),
            ("DELETE", urls[-1]),
            ("GET", urls[-1].replace("sig=", "sig=A")),
        ):
            async with http.request(method, url) as response:
                assert response.status == 403


async def test_a_key_is_renewed_for_an_url_that_outlives_it(
    by_token: Callable[..., AzureBlobDriver], sent: Sent, http: aiohttp.ClientSession
) -> None:
    async with by_token(LocalCredential(), sent=sent) as driver:
        await driver.put_content("/a", b"a")
        for expiry, keys in ((1, 1), (20, 1), (30, 2), (20, 2), (24 * 7, 3), (24 * 6, 3)):
            url = await driver.url_for("/a", expiry=timedelta(hours=expiry))
            assert sent.count("Get User Delegation Key") == keys
            query = parse_qs(urlsplit(url).query)
            # To the second: a signature ends with the key that made it.
            assert query["ske"][0] >= query["se"][0]
            assert query["skt"][0] <= query["st"][0]
            async with http.get(url) as response:
                assert response.status == 200
        with pytest.raises(InvalidExpiryError, match="more than 7 days ahead"):
            await driver.url_for("/a", expiry=timedelta(days=7, seconds=2))
        assert sent.count("Get User Delegation Key") == 3


async def test_an_expiry_in_another_zone_is_the_same_moment(
    by_token: Callable[..., AzureBlobDriver], http: aiohttp.ClientSession
) -> None:
    zone = timezone(timedelta(hours=-11))
    expiry = (datetime.now(UTC) + timedelta(days=2)).astimezone(zone)
    async with by_token(LocalCredential()) as driver:
        await driver.put_content("/a", b"a")
        url = await driver.url_for("/a", expiry=expiry)
    query = parse_qs(urlsplit(url).query)
    for name in ("se", "ske"):
        assert datetime.fromisoformat(query[name][0]) == expiry.replace(microsecond=0)
    async with http.get(url) as response:
        assert response.status == 200


async def test_a_key_is_renewed_ahead_of_its_end(
    by_token: Callable[..., AzureBlobDriver], sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "KEY_LIFETIME", timedelta(hours=1, seconds=1))
    async with by_token(LocalCredential(), sent=sent) as driver:
        await driver.url_for("/a")
        await driver.url_for("/a")
        assert sent.count("Get User Delegation Key") == 1
        await asyncio.sleep(1.1)  # an hour before its end
        await asyncio.gather(*(driver.url_for("/a") for _ in range(20)))
        assert sent.count("Get User Delegation Key") == 2


async def test_a_key_whose_answer_was_lost_is_asked_for_again(
    by_token: Callable[..., AzureBlobDriver],
) -> None:
    fault = lose_answer(on="Get User Delegation Key")
    async with by_token(LocalCredential(), fault) as driver:
        assert "skoid=" in await driver.url_for("/a")
    assert fault.struck == 1


KEY_WITHOUT_VALUE = b"""<?xml version="1.0" encoding="utf-8"?><UserDelegationKey>
<SignedOid>o</SignedOid><SignedTid>t</SignedTid><SignedStart>2026-01-01T00:00:00Z</SignedStart>
<SignedExpiry>2026-01-02T00:00:00Z</SignedExpiry><SignedService>b</SignedService>
<SignedVersion>2021-12-02</SignedVersion></UserDelegationKey>"""


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (
            answer(403, "AuthorizationPermissionMismatch", on="Get User Delegation Key"),
            "url_for failed: 403 AuthorizationPermissionMismatch",
        ),
        (
            answer(200, body=KEY_WITHOUT_VALUE, on="Get User Delegation Key"),
            "url_for failed: no answer; malformed answer",
        ),
        (answer(200, body=b"<a/>", on="Get User Delegation Key"), "url_for failed"),
        (answer(200, body=b"", on="Get User Delegation Key"), "url_for failed"),
    ],
    ids=["refused", "no value", "other XML", "empty"],
)
async def test_without_a_key_there_is_no_url_and_the_next_call_asks_again(
    by_token: Callable[..., AzureBlobDriver], fault: Fault, match: str
) -> None:
    async with by_token(LocalCredential(), fault) as driver:
        with pytest.raises(BackendError, match=match):
            await driver.url_for("/a")
        assert "skoid=" in await driver.url_for("/a")


async def test_an_endpoint_without_the_accounts_name_cannot_sign() -> None:
    """A domain of one's own: the signature is over the name of the account behind it."""
    everything = answer(201, times=None)
    options = AzureBlobOptions(
        account_url="https://files.example.com",
        container="registry",
        credential=LocalCredential(),
    )
    async with AzureBlobDriver(options, wrap_transport=Faults(everything).wrap) as driver:
        with pytest.raises(UnsupportedMethodError, match="does not tell the account's name"):
            await driver.url_for("/a")


# Anonymous.


@asynccontextmanager
async def opened_anonymously(
    server: AzuriteServer, container: str, sent: Sent | None = None, **options: Any
) -> AsyncIterator[AzureBlobDriver]:
    async with AzureBlobDriver(
        AzureBlobOptions(
            account_url=server.blob_endpoint,
            container=container,
            credential=Anonymous(),
            retry=FAST,
            **options,
        ),
        wrap_transport=None if sent is None else sent.faults.wrap,
    ) as driver:
        yield driver


@lanes
@pytest.mark.parametrize("access", ["container", "blob"])
async def test_the_public_reads_and_no_more(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    sent: Sent,
    access: str,
    lean_lane: bool,
) -> None:
    await driver.put_content("/a/b", b"content")
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as sdk:
        await sdk.set_container_access_policy({}, public_access=access)
    async with opened_anonymously(
        azurite_server, container, sent, lean_lane=lean_lane
    ) as anonymous:
        assert sent.requests == []
        assert await anonymous.get_content("/a/b") == b"content"
        async with anonymous.reader("/a/b", 3) as reader:
            assert await reader.read() == b"tent"
        assert (await anonymous.stat("/a/b")).size == 7
        with pytest.raises(PathNotFoundError):
            await anonymous.get_content("/missing")
        if access == "container":
            assert await anonymous.list("/") == ["/a"]
            assert [info.path async for info in anonymous.walk("/")] == ["/a", "/a/b"]
        for call in (anonymous.put_content("/new", b""), anonymous.delete("/a/b")):
            with pytest.raises(StorageDriverError, match=r"40[13]|AuthorizationFailure"):
                await call
        with pytest.raises(UnsupportedMethodError, match="an anonymous caller cannot sign"):
            await anonymous.url_for("/a/b")
        for request in sent.requests:
            assert "Authorization" not in request.headers
            assert "?" not in request.url or "sig=" not in request.url
    assert await driver.get_content("/a/b") == b"content"


async def test_what_is_not_public_is_not_read(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content("/a", b"content")
    async with opened_anonymously(azurite_server, container) as anonymous:
        with pytest.raises(StorageDriverError):
            await anonymous.get_content("/a")


# Secrets.


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Everything that any logger says at DEBUG."""
    before = {}
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        before[logger] = logger.level
        logger.setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s %(args)s")
    try:
        yield lambda: "\n".join(map(formatter.format, caplog.records))
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


@lanes
async def test_no_token_is_logged_or_shown(
    by_token: Callable[..., AzureBlobDriver], debug_log: Callable[[], str], lean_lane: bool
) -> None:
    credential = LocalCredential()
    shown: list[str] = []
    async with by_token(credential, lean_lane=lean_lane) as driver:
        await every_operation(driver)
        signature = parse_qs(urlsplit(await driver.url_for("/a")).query)["sig"][0]
        shown += [repr(driver), repr(driver.options), repr(driver._clients.signer._delegation)]
        shown += [repr(driver._clients._tokens), repr(driver._clients.lane)]
        delegation = driver._clients.signer._delegation
        assert delegation is not None
        assert delegation.key.value is not None
    for fault in (
        answer(401, "InvalidAuthenticationInfo"),
        answer(500, times=None),
        answer(403, "AuthorizationFailure", on="Get User Delegation Key"),
    ):
        with pytest.raises(StorageDriverError) as caught:
            async with by_token(credential, fault, lean_lane=lean_lane) as failing:
                await failing.url_for("/a")
        shown += traceback.format_exception(caught.value)
        error: BaseException | None = caught.value
        while error is not None:
            shown += [str(error), repr(error)]
            error = error.__cause__ or error.__context__
    shown.append(debug_log())
    text = "\n".join(shown)
    assert "x-ms-version" in text  # the requests are really logged
    for secret in (signature, delegation.key.value, *(token.token for token in credential.issued)):
        assert secret not in text
