"""What must not happen: a request for a bad path, a foreign container reached, a secret shown."""

from __future__ import annotations

import base64
import gc
import logging
import os
import pickle
import re
import socket
import string
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import ContainerClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from azdriver import (
    AzureBlobDriver,
    AzureBlobOptions,
    BackendError,
    InvalidPathError,
    StorageDriverError,
)
from azdriver.azureblob import RetrySettings, SasToken, SharedKey
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.proxy import FaultProxy, fault_proxy
from azdriver.testing.recording import RecordedRequest, RecordingTransport

# Tokens are in test_credentials.py: they take https, and the proxies here want to read along.
Credential = SharedKey | SasToken

LETTERS = string.ascii_letters + string.digits + "._-"
FAST = RetrySettings(retries=1, first_delay_seconds=0.01)

# Paths.

segments = st.text(LETTERS, min_size=1, max_size=12).filter(lambda s: s not in (".", ".."))
valid_paths = st.lists(segments, min_size=1, max_size=6).map(lambda s: "/" + "/".join(s))
dots = st.sampled_from([".", "..", "%2e", "%2e%2e", "%2E.", ".%2e", "%252e%252e"])
slashes = st.sampled_from(["//", "%2f", "%2F", "%252F", "\\", "%5c", "/./", "/../", "\\..\\", ";/"])
odd_characters = st.sampled_from(
    [*map(chr, range(0x20)), *" \"#$%&'()*+,:;<=>?@[\\]^`{|}~\x7f\x85\xa0"]
) | st.characters(exclude_characters=LETTERS + "/")


@st.composite
def invalid_paths(draw: st.DrawFn) -> str:
    """A valid path with one rule broken at a random place."""
    path = draw(valid_paths)
    at = draw(st.integers(0, len(path)))
    boundary = draw(st.sampled_from([i for i, c in enumerate(path) if c == "/"] + [len(path)]))
    match draw(st.integers(0, 9)):
        case 0:
            return (
                path[:boundary] + "/" + draw(dots.filter(lambda d: "%" not in d)) + path[boundary:]
            )
        case 1:
            return path[:boundary] + "/" + draw(dots.filter(lambda d: "%" in d)) + path[boundary:]
        case 2:
            return path[:at] + draw(odd_characters) + path[at:]
        case 3:
            return path[:boundary] + draw(slashes.filter(lambda s: s != ";/")) + path[boundary:]
        case 4:
            return path + draw(
                st.sampled_from(["\n", "\r\n", "\n/a", " ", "/", "\0", "?a=b", "#a"])
            )
        case 5:
            return path[1:]
        case 6:
            return draw(st.sampled_from(["/", "\\", " ", ".", "http://host", "//host"])) + path
        case 7:
            return path + "/" + draw(st.sampled_from("ab")) * draw(st.integers(1024, 1100))
        case 8:
            return path + "/a" * 255
        case _:
            return "".join(f"%{byte:02x}" for byte in path.encode())


async def _reader(driver: AzureBlobDriver, path: str) -> None:
    async with driver.reader(path) as reader:
        await reader.read()


async def _writer(driver: AzureBlobDriver, path: str, *, append: bool = False) -> None:
    async with driver.writer(path, append=append) as writer:
        await writer.write(b"x")
        await writer.commit()


async def _walk(driver: AzureBlobDriver, path: str, start_after: str | None = None) -> None:
    async for _ in driver.walk(path, start_after=start_after):
        pass


Operation = Callable[[AzureBlobDriver, str], Awaitable[Any]]

OPERATIONS: dict[str, Operation] = {
    "get_content": lambda driver, path: driver.get_content(path),
    "put_content": lambda driver, path: driver.put_content(path, b"x"),
    "put_content, if_absent": lambda driver, path: driver.put_content(path, b"x", if_absent=True),
    "reader": _reader,
    "writer": _writer,
    "writer, append": lambda driver, path: _writer(driver, path, append=True),
    "stat": lambda driver, path: driver.stat(path),
    "list": lambda driver, path: driver.list(path),
    "walk": _walk,
    "walk, start_after": lambda driver, path: _walk(driver, "/", path),
    "move, source": lambda driver, path: driver.move(path, "/moved"),
    "move, dest": lambda driver, path: driver.move("/a", path),
    "url_for": lambda driver, path: driver.url_for(path),
    "delete": lambda driver, path: driver.delete(path),
}


def test_every_public_operation_is_among_them() -> None:
    operations = {name.partition(",")[0] for name in OPERATIONS}
    public = {name for name in dir(AzureBlobDriver) if not name.startswith("_")}
    life = {"aclose", "from_connection_string", "from_parameters", "name", "open", "options"}
    assert public - life - {"stats"} == operations


@settings(
    max_examples=1200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(invalid_paths())
@example("")
@example(".")
@example("..")
@example("/..")
@example("/a/../../bait/secret")
@example("/a\n")
@example("/%2e%2e/bait/secret")
@example("/..%2fbait%2fsecret")
@example("/..\\bait\\secret")
@example("/" + "a" * 1024)
@example("/a" * 255)
@example("/\ud800")
async def test_an_invalid_path_is_refused_by_every_operation_with_no_request(
    driver: AzureBlobDriver, requests: list[RecordedRequest], path: str
) -> None:
    for name, operation in OPERATIONS.items():
        with pytest.raises(InvalidPathError) as caught:
            await operation(driver, path)
        assert caught.value.path == path, name
        assert str(caught.value).startswith("azure: invalid path: ")
    assert requests == []


@pytest.mark.parametrize("path", [None, b"/a", 5, ["/a"]], ids=repr)
async def test_what_is_not_text_is_refused_with_no_request(
    driver: AzureBlobDriver, requests: list[RecordedRequest], path: Any
) -> None:
    for name, operation in OPERATIONS.items():
        if (name, path) == ("walk, start_after", None):
            continue  # that is its default
        with pytest.raises(InvalidPathError):
            await operation(driver, path)
    assert requests == []


# Containers.


def container_sas(server: AzuriteServer, container: str) -> str:
    return generate_container_sas(
        server.account_name,
        container,
        account_key=server.account_key,
        permission=ContainerSasPermissions.from_string("racwdl"),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


def account_sas(server: AzuriteServer, container: str = "") -> str:
    """It opens every container of the account: only the driver keeps to one."""
    return generate_account_sas(
        server.account_name,
        server.account_key,
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(
            read=True, write=True, delete=True, list=True, add=True, create=True
        ),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


SIGNERS = {"container SAS": container_sas, "account SAS": account_sas}
BAIT = {"secret": b"bait", "a/secret": b"bait as well", "/a": b"with its slash"}


class Bait:
    """A second container in the same account, which nobody may touch."""

    def __init__(self, client: ContainerClient) -> None:
        self.client = client
        self.name = client.container_name

    async def blobs(self) -> dict[str, tuple[bytes, Any]]:
        """What is in it, with the versions: an overwrite with the same bytes would show too."""
        return {
            blob.name: (await (await self.client.download_blob(blob.name)).readall(), blob.etag)
            async for blob in self.client.list_blobs()
        }


@pytest.fixture
async def bait(azurite_server: AzuriteServer, container: str) -> AsyncIterator[Bait]:
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, f"{container}-bait"[-63:].strip("-")
    ) as client:
        await client.create_container()
        for name, content in BAIT.items():
            await client.upload_blob(name, content)
        yield Bait(client)


@pytest.fixture(params=SIGNERS)
async def on_the_wire(
    request: pytest.FixtureRequest,
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
) -> AsyncIterator[tuple[AzureBlobDriver, list[RecordedRequest], FaultProxy]]:
    """A driver by a SAS, its requests as it sends them and as they pass on the wire.

    The URL library is between the two: it is the one that folds dot segments.
    """
    requests: list[RecordedRequest] = []
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        options = AzureBlobOptions(
            account_url=proxy.endpoint,
            container=container,
            credential=SasToken(SIGNERS[request.param](azurite_server, container)),
            retry=FAST,
        )
        async with AzureBlobDriver(
            options, wrap_transport=lambda inner: RecordingTransport(inner, requests)
        ) as limited:
            yield limited, requests, proxy


def fold(path: str) -> str:
    """As URL libraries do, and servers may."""
    folded: list[str] = []
    for segment in unquote(unquote(path)).replace("\\", "/").split("/"):
        if segment == "..":
            del folded[-1:]
        elif segment != ".":
            folded.append(segment)
    return "/".join(folded)


def baiting_paths(bait: str) -> st.SearchStrategy[str]:
    """Valid and invalid ones, many of which lead to the bait once somebody folds them."""
    up = st.sampled_from(
        [
            "..",
            "%2e%2e",
            "%2E%2E",
            ".%2e",
            "..%2f..",
            "..\\..",
            ".",
            "...",
            "..;",
            "",
            "a/..",
            "..%00",
        ]
    )
    between = st.sampled_from(["/", "//", "\\", "%2f", "%5c", "/./"])
    ends = st.sampled_from([bait, f"{bait}/secret", f"{bait}/a/secret", f"{bait}//a", "secret"])
    astray = st.builds(
        lambda prefix, ups, slash, end: prefix + slash + slash.join([*ups, end]),
        st.sampled_from(["", "/a", "/a/b", "."]),
        st.lists(up, max_size=4),
        between,
        ends,
    )
    urls = st.sampled_from(
        [f"/devstoreaccount1/{bait}/secret", f"http://127.0.0.1/devstoreaccount1/{bait}/secret"]
    )
    return st.one_of(astray, astray, invalid_paths(), valid_paths, urls)


async def test_no_path_reaches_another_container(
    on_the_wire: tuple[AzureBlobDriver, list[RecordedRequest], FaultProxy],
    container: str,
    bait: Bait,
) -> None:
    limited, requests, proxy = on_the_wire
    before = await bait.blobs()
    outcomes = {"done": 0, "refused": 0}
    own = f"/devstoreaccount1/{container}"

    @settings(max_examples=600, deadline=None, database=None)
    @given(baiting_paths(bait.name), st.sampled_from(sorted(OPERATIONS)))
    @example(f"/../{bait.name}/secret", "get_content")
    @example(f"/{bait.name}/secret", "get_content")
    @example(f"/.../{bait.name}/secret", "put_content")
    def collect(path: str, operation: str) -> None:
        calls.append((path, operation))

    calls: list[tuple[str, str]] = []
    collect()
    for path, operation in calls:
        requests.clear()
        proxy.request_lines.clear()
        try:
            result = await OPERATIONS[operation](limited, path)
        except InvalidPathError:
            outcomes["refused"] += 1
            assert requests == []
            assert proxy.request_lines == []
            continue
        except StorageDriverError:
            result = None
        outcomes["done"] += 1
        assert result not in BAIT.values()
        for sent in [request.path for request in requests]:
            assert fold(sent) == own or fold(sent).startswith(own + "/"), (path, operation)
        for _, sent in proxy.request_lines:
            assert fold(sent) == own or fold(sent).startswith(own + "/"), (path, operation)
    assert await bait.blobs() == before
    # Both kinds of paths were really tried.
    assert outcomes["done"] > 20
    assert outcomes["refused"] > 20


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_operation_keeps_to_its_container(
    on_the_wire: tuple[AzureBlobDriver, list[RecordedRequest], FaultProxy],
    container: str,
    bait: Bait,
    operation: str,
) -> None:
    """On paths that have the bait's very names, in both layouts' spelling."""
    limited, requests, proxy = on_the_wire
    before = await bait.blobs()
    proxy.request_lines.clear()
    for path in ("/secret", "/a/secret", f"/{bait.name}/secret", "/.../secret"):
        with suppress(StorageDriverError):
            assert await OPERATIONS[operation](limited, path) not in BAIT.values()
    own = f"/devstoreaccount1/{container}"
    for sent in [r.path for r in requests] + [sent for _, sent in proxy.request_lines]:
        assert fold(sent) == own or fold(sent).startswith(own + "/")
    assert await bait.blobs() == before


async def test_the_danger_is_real(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, bait: Bait
) -> None:
    """The same names by the SDK alone do reach the bait: the checks above can fail."""
    async with (
        fault_proxy(azurite_server.blob_endpoint) as proxy,
        ContainerClient(proxy.endpoint, container, credential=account_sas(azurite_server)) as sdk,
    ):
        stream = await sdk.download_blob(f"../{bait.name}/secret")
        assert await stream.readall() == b"bait"
        [(_, sent), *_] = proxy.request_lines
        assert not fold(sent).startswith(f"/devstoreaccount1/{container}/")


# Secrets.


def credentials(server: AzuriteServer, container: str) -> dict[str, Credential]:
    return {
        "account key": SharedKey(server.account_name, server.account_key),
        "container SAS": SasToken(container_sas(server, container)),
        "account SAS": SasToken("?" + account_sas(server)),
    }


def secrets_of(credential: Credential) -> list[str]:
    """What must not be shown, in each spelling that it may have."""
    if isinstance(credential, SharedKey):
        key = credential.account_key
        raw = base64.b64decode(key)
        return [key, quote(key), quote(key, safe=""), raw.hex(), repr(raw)[2:-1], key[:24]]
    [signature] = parse_qs(credential.token.lstrip("?"))["sig"]
    return [signature, quote(signature, safe=""), signature[:24], credential.token]


def assert_no_secret(text: str, *credentials: Credential) -> None:
    for credential in credentials:
        for secret in secrets_of(credential):
            assert secret not in text
    # The names of what is hidden may be shown, their values not.
    assert not re.search(r"sig=(?!REDACTED)", text)
    assert not re.search(r"SharedKey [a-z0-9]+:", text)  # an Authorization header


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Everything that any logger says at DEBUG, those included that the driver holds down."""
    before = {}
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        before[logger] = (logger.level, logger.disabled)
        logger.setLevel(logging.DEBUG)
        logger.disabled = False
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s %(args)s")
    try:
        yield lambda: "\n".join(map(formatter.format, caplog.records))
    finally:
        for logger, (level, disabled) in before.items():
            logger.setLevel(level)
            logger.disabled = disabled


KINDS = ["account key", "container SAS", "account SAS"]


@asynccontextmanager
async def opened(
    endpoint: str, container: str, credential: Credential, **options: Any
) -> AsyncIterator[AzureBlobDriver]:
    async with AzureBlobDriver(
        AzureBlobOptions(
            **{
                "account_url": endpoint,
                "container": container,
                "credential": credential,
                "retry": FAST,
                **options,
            }
        )
    ) as driver:
        yield driver


async def every_operation(driver: AzureBlobDriver) -> None:
    await driver.put_content("/a/content", b"content")
    await driver.get_content("/a/content")
    await driver.stat("/a/content")
    await driver.stat("/a")
    async with driver.writer("/a/stream") as writer:
        await writer.write(bytes(100))
        await writer.commit()
    async with driver.writer("/a/stream", append=True) as writer:
        await writer.write(bytes(100))
    async with driver.reader("/a/stream", 10) as reader:
        await reader.read()
    await driver.put_content("/a/stream", b"migrated")
    await driver.list("/a")
    await _walk(driver, "/")
    await driver.move("/a/stream", "/a/moved")
    for number in range(3):
        await driver.put_content(f"/a/tree/{number}", b"")
    await driver.delete("/a")


@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_is_logged_in_normal_work(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    debug_log: Callable[[], str],
    kind: str,
) -> None:
    credential = credentials(azurite_server, container)[kind]
    async with opened(azurite_server.blob_endpoint, container, credential) as used:
        await every_operation(used)
        if isinstance(credential, SharedKey):
            await used.url_for("/a")
    text = debug_log()
    # The logs are really there: ours, and the SDK's of each request.
    assert "azdriver azure: put_content /a/content: ok" in text
    assert "azdriver.http" in text
    assert "x-ms-version" in text
    assert_no_secret(text, credential)


# Azurite answers 500 to a batch with an account SAS, which the SDK warns of: not normal work.
@pytest.mark.parametrize("kind", ["account key", "container SAS"])
async def test_nothing_is_logged_above_debug_in_normal_work(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    credential = credentials(azurite_server, container)[kind]
    async with opened(azurite_server.blob_endpoint, container, credential) as used:
        await every_operation(used)
    # asyncio's own debug mode tells of slow callbacks on a busy machine.
    assert [r for r in caplog.records if r.levelno > logging.DEBUG and r.name != "asyncio"] == []
    assert "sig=" not in caplog.text
    assert_no_secret(caplog.text, credential)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_is_logged_when_bodies_are_cut_and_resumed(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    debug_log: Callable[[], str],
    kind: str,
) -> None:
    credential = credentials(azurite_server, container)[kind]
    content = os.urandom(100_000)
    await driver.put_content("/a", content)
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        async with opened(proxy.endpoint, container, credential) as cut:
            proxy.cut_answers_after(30_000, times=3)
            assert await cut.get_content("/a") == content
    assert_no_secret(debug_log(), credential)


def wrong(credential: Credential) -> Credential:
    """One of the same kind that the service refuses."""
    if isinstance(credential, SharedKey):
        return SharedKey(credential.account_name, base64.b64encode(os.urandom(64)).decode())
    signature = quote(base64.b64encode(os.urandom(32)), safe="")
    return SasToken(re.sub(r"sig=[^&]*", f"sig={signature}", credential.token))


class Failures:
    """Each is to raise; what it raised is kept as it would be shown."""

    def __init__(self, server: AzuriteServer, container: str, credential: Credential) -> None:
        self.server = server
        self.container = container
        self.credential = credential
        self.wrong = wrong(credential)

    async def missing(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            await driver.get_content("/missing")

    async def missing_stat(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            await driver.stat("/missing")

    async def missing_move(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            await driver.move("/missing", "/a")

    async def wrong_credential(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.wrong):
            pass

    async def missing_container(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            async with ContainerClient.from_connection_string(
                self.server.connection_string, self.container
            ) as sdk:
                await sdk.delete_container()
            try:
                for operation in (OPERATIONS["delete"], OPERATIONS["writer"]):
                    with pytest.raises(BackendError):
                        await operation(driver, "/a")
                await driver.put_content("/a", b"x")
            finally:
                async with ContainerClient.from_connection_string(
                    self.server.connection_string, self.container
                ) as sdk:
                    await sdk.create_container()

    async def unreachable(self) -> None:
        async with opened("http://127.0.0.1:9/devstoreaccount1", self.container, self.credential):
            pass

    async def unknown_host(self) -> None:
        async with opened("http://host.invalid/account", self.container, self.credential):
            pass

    async def no_tls(self) -> None:
        endpoint = self.server.blob_endpoint.replace("http://", "https://")
        async with opened(endpoint, self.container, self.credential):
            pass

    async def connect_timeout(self) -> None:
        # The system takes the connection; nobody answers the TLS handshake.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with opened(
                f"https://127.0.0.1:{silent.getsockname()[1]}/account",
                self.container,
                self.credential,
                connect_timeout_seconds=0.1,
            ):
                pass

    async def read_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with opened(
                f"http://127.0.0.1:{silent.getsockname()[1]}/account",
                self.container,
                self.credential,
                read_timeout_seconds=0.1,
            ):
                pass

    async def attempt_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with opened(
                f"http://127.0.0.1:{silent.getsockname()[1]}/account",
                self.container,
                self.credential,
                retry=RetrySettings(retries=0, attempt_seconds=0.1),
            ):
                pass

    async def pool_timeout(self) -> None:
        async with opened(
            self.server.blob_endpoint,
            self.container,
            self.credential,
            connections=1,
            pool_timeout_seconds=0.1,
        ) as driver:
            await driver.put_content("/large", bytes(8 * 1024 * 1024))
            async with driver.reader("/large"):
                await driver.get_content("/large")

    async def cut_request(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                proxy.cut_requests_after(1, times=100)
                await driver.get_content("/a")

    async def cut_write(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                proxy.cut_requests_after(1, times=100)
                await driver.put_content("/a", b"x")

    async def cut_listing(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                proxy.cut_answers_after(300, times=100)
                await driver.list("/")

    async def cut_answer(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                await driver.put_content("/a", b"x")
                proxy.cut_answers_after(50, times=100)
                await driver.get_content("/a")

    async def garbled_answer(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                proxy.corrupt_answers_at(3, times=100)
                await driver.get_content("/a")

    async def refused_writes(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            await driver.put_content("/content", b"x")
            await _writer(driver, "/content", append=True)


FAILURES = [name for name in vars(Failures) if not name.startswith("_")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failure", FAILURES)
async def test_no_secret_is_shown_by_a_failure(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    debug_log: Callable[[], str],
    kind: str,
    failure: str,
) -> None:
    failures = Failures(azurite_server, container, credentials(azurite_server, container)[kind])
    with pytest.raises(StorageDriverError) as caught:
        await getattr(failures, failure)()
    error = caught.value
    shown = [
        "".join(traceback.format_exception(error, chain=True)),
        str(error),
        repr(error),
        repr(error.args),
        repr(vars(error)),
        str(pickle.loads(pickle.dumps(error))),
    ]
    cause: BaseException | None = error
    while cause is not None:
        # What a logger of errors shows of the chain, whether it was raised "from None" or not.
        shown += [str(cause), repr(cause)]
        cause = cause.__cause__ or cause.__context__
    shown.append(debug_log())
    del caught, error, cause
    gc.collect()
    assert_no_secret("\n".join(shown), failures.credential, failures.wrong)


async def test_no_secret_is_in_a_repr(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    for credential in credentials(azurite_server, container).values():
        async with opened(azurite_server.blob_endpoint, container, credential) as used:
            shown = [repr(it) for it in (used, used.options, credential, used._clients)]
            shown += [str(used), str(used.options)]
            async with used.writer("/a") as writer:
                shown.append(repr(writer))
            async with used.reader("/a") as reader:
                shown.append(repr(reader))
            shown.append(repr(used.walk("/")))
        for text in shown:
            assert_no_secret(text, credential)
            assert "sig=" not in text
