"""Azurite as a test server, on the real thing; what is started must always be gone afterwards."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from azure.storage.blob.aio import BlobServiceClient

from azdriver import AzureBlobDriver
from azdriver.testing import azurite as azurite_module
from azdriver.testing import azurite_install
from azdriver.testing.azurite import (
    AZURITE_VERSION,
    DEVSTORE_KEY,
    AzuriteError,
    AzuriteServer,
    azurite,
    install_azurite,
)
from azdriver.testing.azurite_install import cache_directory, find_node, parse_node_version

# These tests start their own, whatever the developer's environment says.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "AZDRIVER_AZURITE"}
NO_PATH = ENVIRONMENT | {"PATH": ""}
POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and scripts")
BLOB = b"kept \x00\xff"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Every Azurite that the test starts; at the end all must have been waited for."""
    processes: list[subprocess.Popen[bytes]] = []
    start_process = azurite_install.start_process

    def recording(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(start_process(*args, **options))
        return processes[-1]

    monkeypatch.setattr(azurite_module, "start_process", recording)
    yield processes
    assert [process.returncode for process in processes if process.returncode is None] == []


async def put(server: AzuriteServer, name: str) -> None:
    client = BlobServiceClient.from_connection_string(server.connection_string)
    async with client:
        container = client.get_container_client("box")
        if not await container.exists():
            await container.create_container()
        await container.upload_blob(name, BLOB)


async def get(server: AzuriteServer, name: str) -> bytes:
    client = BlobServiceClient.from_connection_string(server.connection_string)
    async with client:
        download = await client.get_blob_client("box", name).download_blob()
        return await download.readall()


async def listens(endpoint: str) -> bool:
    url = urlsplit(endpoint)
    try:
        stream = await anyio.connect_tcp(url.hostname or "", url.port or 0)
    except OSError:
        return False
    await stream.aclose()
    return True


async def test_two_run_side_by_side_and_are_gone_afterwards(
    started: list[subprocess.Popen[bytes]],
) -> None:
    async with (
        azurite(environment=ENVIRONMENT) as one,
        azurite(environment=ENVIRONMENT, extent_memory_limit_mb=64) as other,
    ):
        assert one.version == AZURITE_VERSION
        assert one.blob_endpoint != other.blob_endpoint
        assert {one.pid, other.pid} == {process.pid for process in started}
        await put(one, "a")
        await put(other, "b")
        assert await get(one, "a") == await get(other, "b") == BLOB
    assert not await listens(one.blob_endpoint)
    assert not await listens(other.blob_endpoint)
    assert [process.returncode for process in started] == [0, 0]


@POSIX_ONLY
async def test_data_directory_outlives_stop_and_kill(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a relative path is relative to us
    data = Path("data")
    async with azurite(data_directory=data, environment=ENVIRONMENT) as server:
        await put(server, "stopped")
    assert (tmp_path / "data").is_dir()
    async with azurite(data_directory=data, environment=ENVIRONMENT) as server:
        assert await get(server, "stopped") == BLOB
        await put(server, "killed")
        index = tmp_path / "data" / "__azurite_db_blob__.json"
        with anyio.fail_after(15):
            while '"killed"' not in index.read_text():  # noqa: ASYNC110 -- saved every 5 seconds
                await anyio.sleep(0.1)
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
    async with azurite(data_directory=data, environment=ENVIRONMENT) as server:
        assert await get(server, "stopped") == await get(server, "killed") == BLOB
    assert [process.returncode for process in started] == [0, -signal.SIGKILL, 0]


async def test_a_data_directory_has_one_azurite(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two would each overwrite the other's index."""
    monkeypatch.setattr("azdriver.testing.azurite.STOP_GRACE_SECONDS", 0.1)
    async with azurite(data_directory=tmp_path, environment=ENVIRONMENT):
        with pytest.raises(AzuriteError, match="another Azurite that runs keeps its blobs there"):
            async with azurite(data_directory=tmp_path, environment=ENVIRONMENT):
                pytest.fail("it started")
    async with azurite(data_directory=tmp_path, environment=ENVIRONMENT) as server:
        await put(server, "a")
    assert len(started) == 2


async def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(AzuriteError, match=r"file: File exists$"):
        async with azurite(data_directory=file, environment=ENVIRONMENT):
            pytest.fail("it started")


async def test_temporary_directory_is_removed(started: list[subprocess.Popen[bytes]]) -> None:
    async with azurite(in_memory=False, environment=ENVIRONMENT) as server:
        await put(server, "a")
        arguments: Any = started[0].args
        data = Path(arguments[arguments.index("--location") + 1])
        assert "__blobstorage__" in os.listdir(data)
    assert not data.parent.exists()


async def test_https_with_bearer_tokens_and_debug_log(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], certificate: tuple[Path, Path]
) -> None:
    public, key = certificate
    log = tmp_path / "debug.log"
    async with azurite(
        host="localhost",
        oauth="basic",
        certificate=public,
        key=key,
        debug_log=log,
        environment=ENVIRONMENT,
    ) as server:
        assert server.blob_endpoint.startswith("https://localhost:")
        assert server.debug_log == log
    assert "GET" in log.read_text()  # the request that waited for the answer


@pytest.mark.parametrize("reason", ["port is taken", "too slow"])
async def test_failed_start_shows_the_output(
    reason: str, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    if reason == "port is taken":
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            with pytest.raises(AzuriteError, match=rf"EADDRINUSE.*{port}"):
                async with azurite(port=port, environment=ENVIRONMENT):
                    pytest.fail("it started")
    else:
        with pytest.raises(AzuriteError, match=r"within 0:00:00\.01"):
            async with azurite(start_timeout=timedelta(milliseconds=10), environment=ENVIRONMENT):
                pytest.fail("it started")
    assert len(started) == 1


@pytest.mark.parametrize("kind", ["task", "scope"])
@pytest.mark.parametrize("polls", [0, 10, 40])
async def test_cancelled_start_leaves_no_process(
    kind: str,
    polls: int,
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        async with azurite(environment=ENVIRONMENT):
            pytest.fail("it started")

    async def cancel_later() -> None:
        while not started:  # noqa: ASYNC110 -- at the first moment
            await asyncio.sleep(0)
        await asyncio.sleep(polls * azurite_install.POLL_SECONDS)

    # Slower than any of the delays.
    wait_for_port = azurite_module._wait_for_port

    async def slow(process: subprocess.Popen[bytes], log: Path) -> int:
        await asyncio.sleep(10)
        return await wait_for_port(process, log)

    monkeypatch.setattr(azurite_module, "_wait_for_port", slow)
    if kind == "task":
        task = asyncio.create_task(run())
        await cancel_later()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await cancel_later()
            group.cancel_scope.cancel()
    assert len(started) == 1


@POSIX_ONLY
async def test_one_that_does_not_stop_is_killed(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azurite_module, "STOP_GRACE_SECONDS", 0.2)
    async with azurite(environment=ENVIRONMENT) as server:
        assert server.pid
        os.kill(server.pid, signal.SIGSTOP)
    assert started[0].returncode == -signal.SIGKILL


async def test_cancelled_use_still_stops_in_order(started: list[subprocess.Popen[bytes]]) -> None:
    """It saves its data at the stop, so a cancellation must not shorten that to a kill."""
    with anyio.CancelScope() as scope:
        async with azurite(environment=ENVIRONMENT) as server:
            # It answers a moment before it listens to signals: let it do some work first.
            async with AzureBlobDriver.from_connection_string(
                server.connection_string, "some"
            ) as driver:
                await driver.put_content("/content", b"content")
            scope.cancel()
            await anyio.sleep_forever()
    assert started[0].returncode == 0


@POSIX_ONLY
async def test_second_cancellation_kills_at_once(started: list[subprocess.Popen[bytes]]) -> None:
    ready = asyncio.Event()

    async def run() -> None:
        async with azurite(environment=ENVIRONMENT) as server:
            assert server.pid
            os.kill(server.pid, signal.SIGSTOP)
            ready.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(run())
    await ready.wait()
    task.cancel()
    await asyncio.sleep(0.1)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode == -signal.SIGKILL


SCRIPT = """
import signal
import anyio
# A shell's background jobs begin with this signal ignored, which their children inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
from azdriver.testing.azurite import azurite
async def main():
    async with azurite() as server:
        print(server.blob_endpoint, flush=True)
        await anyio.sleep(60)
anyio.run(main)
"""


@POSIX_ONLY
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
async def test_it_ends_with_its_parent(sent: signal.Signals, tmp_path: Path) -> None:
    # A killed parent can't remove its temporary directory: keep it where pytest will.
    environment = python_environment() | {"TMPDIR": str(tmp_path)}
    async with await anyio.open_process(
        [sys.executable, "-c", SCRIPT], env=environment, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout
        with anyio.fail_after(60):
            endpoint = (await parent.stdout.receive()).decode().strip()
            assert await listens(endpoint)
            parent.send_signal(sent)
            assert await parent.wait() != 0
            while await listens(endpoint):  # noqa: ASYNC110 -- not our child
                await anyio.sleep(0.05)


def python_environment() -> dict[str, str]:
    """For a Python of our own: what is importable here is importable there."""
    return ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


async def test_address_in_the_environment_is_used_as_it_is() -> None:
    async with azurite(environment=ENVIRONMENT) as server:
        for address in (
            server.blob_endpoint,
            server.blob_endpoint.removesuffix("/devstoreaccount1"),
            server.connection_string,
        ):
            async with azurite(environment={"AZDRIVER_AZURITE": address}) as external:
                assert external.blob_endpoint == server.blob_endpoint
                assert external.connection_string == server.connection_string
                assert (external.pid, external.version) == (None, None)
        await put(server, "still-running")


async def test_address_refuses_what_cannot_be_chosen(tmp_path: Path) -> None:
    environment = {"AZDRIVER_AZURITE": "http://127.0.0.1:10000"}
    with pytest.raises(AzuriteError, match="data_directory, version can't be chosen"):
        async with azurite(data_directory=tmp_path, version="3.35.0", environment=environment):
            pytest.fail("it started")


async def test_address_without_an_answer() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
    environment = {"AZDRIVER_AZURITE": f"http://127.0.0.1:{port}/devstoreaccount1"}
    with pytest.raises(AzuriteError, match=f"no answer from .*:{port}/"):
        async with azurite(start_timeout=timedelta(seconds=0.1), environment=environment):
            pytest.fail("it started")


@pytest.mark.parametrize(
    "address",
    [
        "nonsense",
        "https://real.blob.core.windows.net",
        "http://127.0.0.1:10000/other",  # whose key nobody knows
        "http://127.0.0.1:10000/devstoreaccount1?sig=SECRET",
        "AccountName=real;AccountKey=SECRET;EndpointSuffix=core.windows.net",
        "AccountName=a;AccountKey=SECRET;BlobEndpoint=https://real.blob.core.windows.net/a",
        "AccountName=a;AccountKey=SECRET;BlobEndpoint=http://127.0.0.1:10000/b",
    ],
)
async def test_address_that_is_no_emulators(address: str) -> None:
    with pytest.raises(AzuriteError, match="AZDRIVER_AZURITE must be") as caught:
        async with azurite(environment={"AZDRIVER_AZURITE": address}):
            pytest.fail("it started")
    assert "SECRET" not in str(caught.value)


def test_address_of_another_account() -> None:
    server = azurite_module._parse_address(
        "AccountName=a;AccountKey=a2V5PT0=;BlobEndpoint=http://azurite:1/a;"
    )
    assert server == AzuriteServer("http://azurite:1/a", "a", "a2V5PT0=")
    development = azurite_module._parse_address("UseDevelopmentStorage=true")
    assert development == AzuriteServer("http://127.0.0.1:10000/devstoreaccount1")


@pytest.mark.parametrize(
    "options",
    [
        {"certificate": Path("c.pem")},
        {"oauth": "basic"},
        {"extent_memory_limit_mb": 1, "in_memory": False},
        {"version": "latest"},
        {"version": "../3.37.0"},
    ],
)
async def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"go together|needs https|in memory|exact version"):
        async with azurite(environment=ENVIRONMENT, **options):
            pytest.fail("it started")


def test_repr_does_not_show_the_key() -> None:
    server = AzuriteServer("http://127.0.0.1:1/devstoreaccount1")
    assert DEVSTORE_KEY not in repr(server)
    assert DEVSTORE_KEY in server.connection_string


async def test_no_node_on_path(started: list[subprocess.Popen[bytes]]) -> None:
    async with azurite(environment=NO_PATH) as server:
        await put(server, "a")
    assert len(started) == 1


INSTALL = """
import anyio
from azdriver.testing.azurite import install_azurite
print(anyio.run(install_azurite, "3.35.0").argv[1])
"""


async def test_installs_side_by_side_without_node_on_path(tmp_path: Path) -> None:
    """The older version, really from npm; several seconds."""
    environment = python_environment() | {"AZDRIVER_CACHE": str(tmp_path), "PATH": ""}
    broken_off = tmp_path / "azurite-3.35.0.partial-x"
    broken_off.mkdir()
    scripts: list[str] = []

    async def install() -> None:
        done = await anyio.run_process([sys.executable, "-c", INSTALL], env=environment)
        scripts.append(done.stdout.decode().strip())

    async with anyio.create_task_group() as group:
        group.start_soon(install)
        group.start_soon(install)
    folder = tmp_path / "azurite-3.35.0"
    assert scripts == [str(folder / "node_modules/azurite/dist/src/blob/main.js")] * 2
    assert set(os.listdir(tmp_path)) == {folder.name, f"{folder.name}.lock"}
    cached = NO_PATH | {"AZDRIVER_CACHE": str(tmp_path)}
    async with azurite(version="3.35.0", environment=cached) as server:
        await put(server, "a")


@POSIX_ONLY
@pytest.mark.parametrize("broken", ["npm fails", "npm is killed", "npm installs nothing"])
async def test_failed_installation_shows_the_output_and_is_not_kept(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin/node", "echo v99.0.0")
    cache = tmp_path / "cache"
    environment = {"PATH": str(tmp_path / "bin")}
    lines: list[str] = []
    if broken == "npm fails":
        program(tmp_path / "bin/npm", "echo no such registry; exit 3")
        expected = r"failed with status 3; .*\nno such registry"
    elif broken == "npm is killed":
        monkeypatch.setattr(azurite_install, "INSTALL_TIMEOUT_SECONDS", 0.3)
        program(tmp_path / "bin/npm", "echo wait for me; exec /bin/sleep 60")
        expected = r"did not finish; .*\nwait for me"
    else:
        program(tmp_path / "bin/npm", "exit 0")
        expected = "there is no azurite-blob"
    for _ in range(2):
        with pytest.raises(AzuriteError, match=expected):
            await install_azurite(cache=cache, environment=environment, progress=lines.append)
    assert [line.split()[0] for line in lines] == ["Installing"] * 2
    if broken != "npm installs nothing":
        assert not (cache / f"azurite-{AZURITE_VERSION}").exists()


@POSIX_ONLY
async def test_second_installer_says_that_it_waits(tmp_path: Path) -> None:
    program(tmp_path / "bin/node", "echo v99.0.0")
    program(tmp_path / "bin/npm", "/bin/sleep 1; exit 3")
    lines: list[str] = []

    async def install() -> None:
        with pytest.raises(AzuriteError):
            await install_azurite(
                cache=tmp_path / "cache",
                environment={"PATH": str(tmp_path / "bin")},
                progress=lines.append,
            )

    async with anyio.create_task_group() as group:
        group.start_soon(install)
        group.start_soon(install)
    assert sorted(line.split()[0] for line in lines) == ["Installing", "Installing", "Waiting"]


@POSIX_ONLY
def test_own_node_only_if_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"PATH": str(tmp_path)}
    wheel = azurite_install._wheel_directory()
    assert wheel
    in_wheel = find_node({})
    assert in_wheel.executable == wheel / "bin/node"

    program(tmp_path / "node", "echo v22.0.0")
    assert find_node(environment).executable == tmp_path / "node"
    assert find_node(environment).npm == (str(tmp_path / "node"), in_wheel.npm[1])
    program(tmp_path / "npm", "exit 1")
    assert find_node(environment).npm == (str(tmp_path / "npm"),)
    for unusable in ("echo v21.9.9", "echo; exit 1", "exit 1", "echo nonsense"):
        program(tmp_path / "node", unusable)
        assert find_node(environment) == in_wheel

    monkeypatch.setattr(azurite_install, "_wheel_directory", lambda: None)
    program(tmp_path / "node", "echo v20.1.0")
    with pytest.raises(AzuriteError, match=r"node \(20\.1\.0\).*azdriver\[testing\]"):
        find_node(environment)
    with pytest.raises(AzuriteError, match="found: none"):
        find_node({})


@POSIX_ONLY
async def test_node_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azurite_install, "_wheel_directory", lambda: None)
    program(tmp_path / "bin/node", "echo v22.0.0")
    with pytest.raises(AzuriteError, match="no npm"):
        await install_azurite(cache=tmp_path, environment={"PATH": str(tmp_path / "bin")})


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("v24.19.0\n", (24, 19, 0)),
        ("v9.11.2", (9, 11, 2)),
        ("v23.0.0-nightly20240601", (23, 0, 0)),
        ("24.19.0", None),
        ("", None),
    ],
)
def test_node_versions(output: str, version: tuple[int, int, int] | None) -> None:
    assert parse_node_version(output) == version


def test_cache_directory() -> None:
    assert cache_directory({"AZDRIVER_CACHE": "/x", "XDG_CACHE_HOME": "/y"}) == Path("/x")
    assert cache_directory({}).name in ("azdriver", "Cache")
    if sys.platform == "linux":
        assert cache_directory({"XDG_CACHE_HOME": "/y"}) == Path("/y/azdriver")
        assert cache_directory({"XDG_CACHE_HOME": "y"}) == Path.home() / ".cache/azdriver"


def program(path: Path, script: str) -> None:
    """A shell script in the place of a program."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
