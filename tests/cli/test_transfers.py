"""``put`` and ``get``: files, trees, pipes; interrupted and gone on with; what is in the way."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest
from azure.storage.blob.aio import BlobClient

from azdriver import AzureBlobDriver, MemoryDriver
from azdriver.cli.downloading import Download, _Part
from azdriver.cli.failures import Failure
from azdriver.cli.local import Tree, hash_of
from azdriver.cli.progress import Progress
from azdriver.cli.uploading import Journal
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.proxy import fault_proxy

Cli = Callable[..., CompletedProcess[str]]
Process = Callable[..., subprocess.Popen[bytes]]
Ended = Callable[[subprocess.Popen[bytes]], CompletedProcess[str]]

MIB = 1024 * 1024
LARGE = random.Random(5).randbytes(24 * MIB + 17)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six files, one of them with a name that is no path; and two symbolic links."""
    top = tmp_path / "tree"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "empty directory").mkdir()
    for name in ("a", "b.txt", "sub/c", "sub/deep/d", "sub/empty"):
        (top / name).write_text("" if name.endswith("empty") else name, "utf-8")
    (top / "no path").write_text("x", "utf-8")
    (top / "link").symlink_to("a")
    (top / "sub" / "up").symlink_to(top, target_is_directory=True)
    return top


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(LARGE)
    return path


async def test_a_file_goes_and_comes_back(
    driver: AzureBlobDriver, cli: Cli, large: Path, tmp_path: Path
) -> None:
    ran = cli("put", large, "/x/large", "--checksum", "--verify")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{sha256(LARGE)}  /x/large\n"
    target = tmp_path / "back"
    ran = cli("get", "/x/large", target, "--checksum")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{sha256(LARGE)}  {target}\n"
    assert target.read_bytes() == LARGE
    info = await driver.stat("/x/large")
    assert info.mod_time is not None
    assert target.stat().st_mtime == info.mod_time.timestamp()
    assert os.listdir(tmp_path) == ["back"]


async def test_a_small_file_is_stored_by_one_request(
    driver: AzureBlobDriver, cli: Cli, tmp_path: Path
) -> None:
    for size in (0, 1, 4 * MIB, 4 * MIB + 1):
        (tmp_path / "file").write_bytes(b"x" * size)
        assert cli("put", tmp_path / "file", f"/{size}").returncode == 0
        assert (await driver.stat(f"/{size}")).size == size
        assert cli("get", f"/{size}", tmp_path / "back").returncode == 0
        assert (tmp_path / "back").read_bytes() == b"x" * size


async def test_where_files_go(
    driver: AzureBlobDriver, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    assert cli("put", "one", "/new").returncode == 0
    assert cli("put", "one", "/dir/").returncode == 0
    assert cli("put", "./one", "two", "/both").returncode == 0
    assert cli("put", "one", "/").returncode == 0
    assert cli("ls", "-R").stdout.split() == [
        "/both/", "/both/one", "/both/two", "/dir/", "/dir/one", "/new", "/one",
    ]  # fmt: skip
    assert cli("get", "/new").returncode == 0
    assert (tmp_path / "new").read_text() == "1"
    assert cli("get", "/both/two", "made/").returncode == 0
    assert cli("get", "/both/one", "made").returncode == 0
    assert sorted(os.listdir("made")) == ["one", "two"]


async def test_two_files_for_one_path_are_refused(
    driver: AzureBlobDriver, cli: Cli, tree: Path
) -> None:
    (tree / "sub" / "a").write_text("")
    ran = cli("put", tree / "a", tree / "sub" / "a", "/d")
    assert ran.returncode == 2
    assert ran.stderr == f"azdriver: {tree}/a and {tree}/sub/a would both be stored at /d/a\n"
    assert list(await driver.list("/")) == []


async def test_a_tree_goes_and_comes_back(
    driver: AzureBlobDriver, cli: Cli, tree: Path, tmp_path: Path
) -> None:
    ran = cli("put", "-r", tree, "/t")
    assert ran.returncode == 1
    lines = ran.stderr.splitlines()
    assert lines[0] == f"azdriver: {tree}: symbolic links and special files left out: 2"
    assert lines[1].startswith("azdriver: azure: invalid path: '/t/no path'")
    assert lines[2].startswith("azdriver: stored 5 files, 21 B in ")
    assert lines[2].endswith("; 1 failed")
    back = tmp_path / "back"
    ran = cli("get", "-r", "/t", back, "-j", "2", "--checksum")
    assert ran.returncode == 0
    assert "fetched 5 files, 21 B" in ran.stderr
    assert f"{sha256(b'sub/c')}  {back}/sub/c" in ran.stdout.splitlines()
    assert {str(path.relative_to(back)) for path in back.rglob("*") if path.is_file()} == {
        "a", "b.txt", "sub/c", "sub/deep/d", "sub/empty",
    }  # fmt: skip
    assert (back / "sub/deep/d").read_text() == "sub/deep/d"


async def test_where_trees_go(
    driver: AzureBlobDriver,
    cli: Cli,
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tree / "no path").unlink()
    monkeypatch.chdir(tree / "sub" / "deep")
    assert cli("put", "-r", ".", "/").returncode == 0
    assert cli("put", "-r", "../deep", "/in/").returncode == 0
    assert cli("put", "-r", "../deep/", "/is").returncode == 0
    assert cli("put", "-r", f"{tree}/sub/.", "d", "/several").returncode == 0
    assert cli("ls", "-R").stdout.split() == [
        "/d", "/in/", "/in/deep/", "/in/deep/d", "/is/", "/is/d",
        "/several/", "/several/c", "/several/d", "/several/deep/", "/several/deep/d",
        "/several/empty",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for arguments in (["/in"], ["/in/", "x/"], ["/in", "y"], ["/", "z"]):
        assert cli("get", "-r", *arguments).returncode == 0
    assert (tmp_path / "in/deep/d").exists()
    assert (tmp_path / "x/in/deep/d").exists()
    assert (tmp_path / "y/deep/d").exists()
    assert (tmp_path / "z/several/deep/d").exists()


async def test_one_that_fails_does_not_stop_the_rest(
    driver: AzureBlobDriver, cli: Cli, tmp_path: Path
) -> None:
    for path in ("/t/a", "/t/a/b", "/t/c"):  # a path may be both, but no file can be
        await driver.put_content(path, b"x")
    ran = cli("get", "-r", "/t", tmp_path / "back", "-j", "1")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].endswith("; 1 failed")
    assert (tmp_path / "back/c").exists()
    (tmp_path / "there").write_text("")
    ran = cli("put", tmp_path / "missing", tmp_path / "there", "/both/")
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"azdriver: {tmp_path}/missing: No such file or directory\n")
    assert (await driver.stat("/both/there")).size == 0


async def test_resume_leaves_out_what_is_there(
    driver: AzureBlobDriver, cli: Cli, tree: Path, tmp_path: Path
) -> None:
    (tree / "no path").unlink()
    assert cli("put", "-r", tree, "/t").returncode == 0
    (tree / "a").write_text("changed")
    os.utime(tree / "b.txt", (2e9, 2e9))  # of the same size, and newer
    assert "stored 2 files, 12 B" in cli("put", "-rc", tree, "/t").stderr
    assert await driver.get_content("/t/a") == b"changed"
    back = tmp_path / "back"
    assert cli("get", "-r", "/t", back).returncode == 0
    await driver.put_content("/t/sub/c", b"c/bus")
    (back / "a").write_text("CHANGED")
    for changed in ("a", "sub/c"):  # of the same size, and of another time
        os.utime(back / changed, (1e9, 1e9))
    ran = cli("get", "-rcv", "/t", back)
    assert "fetched 2 files, 12 B" in ran.stderr
    assert "3 were there already" in ran.stderr
    assert f"was there already: {back}/b.txt\n" in ran.stderr
    assert ((back / "sub/c").read_text(), (back / "a").read_text()) == ("c/bus", "changed")


@pytest.mark.parametrize("write_mode", ["append", "block"])
async def test_an_interrupted_put_is_gone_on_with(
    azurite_server: AzuriteServer,
    driver: AzureBlobDriver,
    settings: Callable[..., dict[str, str]],
    process: Process,
    ended: Ended,
    cli: Cli,
    large: Path,
    write_mode: str,
) -> None:
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        proxy.bytes_per_second = 1000  # of answers: so a few blocks a second
        slow = settings(proxy.endpoint, writemode=write_mode, blocksinflight="1")
        running = process("put", large, "/big", env=slow)
        blocks = 0
        while blocks < 3:
            assert running.poll() is None
            await asyncio.sleep(0.02)
            blocks = sum(method == "PUT" for method, _ in proxy.request_lines) - 1
        running.send_signal(signal.SIGINT)
        ran = await asyncio.to_thread(ended, running)
        assert ran.returncode == 130
        assert ran.stderr == "azdriver: interrupted: the same command with --resume goes on\n"
        proxy.bytes_per_second = None
        proxy.request_lines.clear()
        env = settings(proxy.endpoint, writemode=write_mode)
        ran = await asyncio.to_thread(cli, "put", large, "/big", "--resume", "--checksum", **env)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.split()[0] == sha256(LARGE)
        sent = sum(method == "PUT" for method, _ in proxy.request_lines)
        assert sent < 1 + 6 + 3  # not all seven blocks anew, and what a session takes besides
    async with driver.reader("/big") as reader:
        assert await reader.read() == LARGE
    assert os.listdir(env["XDG_STATE_HOME"] + "/azdriver/uploads") == []


@pytest.mark.parametrize(
    "stored",
    [b"something else" * 500_000, LARGE + b"more", LARGE[:-1]],
    ids=["other", "longer", "prefix"],
)
async def test_resume_compares_what_is_stored(
    driver: AzureBlobDriver, cli: Cli, large: Path, stored: bytes
) -> None:
    async with driver.writer("/big") as writer:
        await writer.write(stored)
    assert cli("put", large, "/big", "--resume").returncode == 0
    async with driver.reader("/big") as reader:
        assert await reader.read() == LARGE


async def test_a_staged_stream_is_gone_on_with_only_from_the_same_file(
    driver: AzureBlobDriver,
    cli: Cli,
    settings: Callable[..., dict[str, str]],
    large: Path,
) -> None:
    env = settings(writemode="block")
    async with AzureBlobDriver.from_parameters(
        {
            "connectionstring": driver_connection(driver),
            "container": env["AZDRIVER_URL"].partition("?")[0].rpartition("/")[2],
            "writemode": "block",
        }
    ) as blocks:
        async with blocks.writer("/big") as writer:
            await writer.write(b"not of this file" * MIB)
    assert cli("put", large, "/big", "--resume", **env).returncode == 0
    async with driver.reader("/big") as reader:
        assert await reader.read() == LARGE


def driver_connection(driver: AzureBlobDriver) -> str:
    credential = driver._options.credential
    return (
        f"AccountName={credential.account_name};AccountKey={credential.account_key};"  # type: ignore[union-attr]
        f"BlobEndpoint={driver._options.account_url}"
    )


async def test_an_interrupted_get_is_gone_on_with(
    azurite_server: AzuriteServer,
    driver: AzureBlobDriver,
    settings: Callable[..., dict[str, str]],
    process: Process,
    ended: Ended,
    cli: Cli,
    tmp_path: Path,
) -> None:
    async with driver.writer("/big") as writer:
        await writer.write(LARGE)
        await writer.commit()
    part, target = tmp_path / ".big.azdriver.part", tmp_path / "big"
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        proxy.bytes_per_second = 4 * MIB
        env = settings(proxy.endpoint, readrangesinflight="1")
        running = process("get", "/big", target, env=env)
        while not part.exists() or part.stat().st_size < 8 * MIB:
            assert running.poll() is None
            await asyncio.sleep(0.02)
        running.send_signal(signal.SIGINT)
        ran = await asyncio.to_thread(ended, running)
        assert ran.returncode == 130
        assert ran.stderr == "azdriver: interrupted: the same command with --resume goes on\n"
    received = part.stat().st_size
    assert not target.exists()
    ran = cli("get", "/big", target, "--resume", "--checksum", "--debug")
    assert ran.returncode == 0
    assert ran.stdout == f"{sha256(LARGE)}  {target}\n"
    assert target.read_bytes() == LARGE
    # It began a MiB before the end of the part.
    assert f"reader /big: ok, {len(LARGE) - received + MIB} bytes" in ran.stderr
    assert os.listdir(tmp_path) == ["big"]


@pytest.mark.parametrize("change", ["version", "part", "none"])
async def test_a_part_that_does_not_fit_is_thrown_away(
    driver: AzureBlobDriver, cli: Cli, tmp_path: Path, change: str
) -> None:
    content = LARGE[: 3 * MIB]
    info = await driver.put_content("/f", content)
    part, version = tmp_path / ".f.azdriver.part", tmp_path / ".f.azdriver.etag"
    version.write_text(f"/f {(info.etag or '').strip(chr(34))}")
    part.write_bytes(content[: 2 * MIB])
    if change == "version":
        content = content[::-1]
        await driver.put_content("/f", content)
    elif change == "part":
        part.write_bytes(content[: 2 * MIB - 5] + b"01234")
    ran = cli("get", "/f", tmp_path / "f", "--resume", "--debug")
    assert ran.returncode == 0
    assert (tmp_path / "f").read_bytes() == content
    assert os.listdir(tmp_path) == ["f"]
    assert (f"reader /f: ok, {2 * MIB} bytes" in ran.stderr) == (change == "none")


async def test_the_version_that_is_stored_meanwhile_is_fetched(tmp_path: Path) -> None:
    async with MemoryDriver() as driver:
        old = await driver.put_content("/f", b"old")
        await driver.put_content("/f", b"newer")
        await Download(driver, Progress()).file(old, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"newer"


def test_a_file_that_grows_while_it_is_read_is_not_stored(cli: Cli) -> None:
    ran = cli("put", "/proc/self/status", "/status")  # whose size is 0 until it is read
    assert ran.returncode == 1
    assert ran.stderr == "azdriver: /proc/self/status: it changed while it was read\n"
    assert cli("ls").stdout == ""


def test_nothing_is_written_outside_of_the_directory(tmp_path: Path) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    outside.mkdir()
    tree = Tree(top)
    for bad in ("../x", "a/../../x", "/x", "", ".", "a//b", "a/./b", "x\0y"):
        with pytest.raises(Failure, match="is not a name for a file here"):
            tree.place(bad)
    (top / "link").symlink_to(outside, target_is_directory=True)
    with pytest.raises(Failure, match="is a symbolic link, which is not followed"):
        tree.place("link/x")
    assert tree.place("a/b/c") == top / "a" / "b" / "c"
    assert list(outside.iterdir()) == []


async def test_a_link_in_the_place_of_a_file_is_replaced(
    driver: AzureBlobDriver, cli: Cli, tmp_path: Path
) -> None:
    await driver.put_content("/t/f", b"new")
    (tmp_path / "precious").write_text("old")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "f").symlink_to(tmp_path / "precious")
    (tmp_path / "top" / ".g.azdriver.part").symlink_to(tmp_path / "precious")
    await driver.put_content("/t/g", b"new")
    ran = cli("get", "-r", "/t", tmp_path / "top")
    assert "/top/.g.azdriver.part: Too many levels of symbolic links" in ran.stderr
    assert (tmp_path / "top" / "f").read_text() == "new"
    assert (tmp_path / "precious").read_text() == "old"


def test_names_that_differ_by_case_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azdriver.cli.local._ignores_case", lambda _: True)
    tree = Tree(tmp_path)
    tree.place("a/File")
    tree.place("a/File")
    with pytest.raises(Failure, match="a/file and a/File are one file here"):
        tree.place("a/file")


@pytest.mark.parametrize("size", [5, 9 * MIB])
async def test_pipes(driver: AzureBlobDriver, process: Process, ended: Ended, size: int) -> None:
    content = LARGE[:size]
    putting = process("put", "-", "/piped", "--checksum", "--verify")
    out, err = putting.communicate(content, timeout=60)
    assert (putting.returncode, out.decode(), err) == (0, f"{sha256(content)}  /piped\n", b"")
    getting = process("get", "/piped", "-")
    out, err = getting.communicate(timeout=60)
    assert (getting.returncode, err) == (0, b"")
    assert out == content


async def test_a_pipe_that_is_closed_is_not_worth_a_word(
    driver: AzureBlobDriver, process: Process
) -> None:
    async with driver.writer("/big") as writer:
        await writer.write(LARGE)
        await writer.commit()
    running = process("cat", "/big")
    assert running.stdout is not None
    assert running.stderr is not None
    assert running.stdout.read(10) == LARGE[:10]
    running.stdout.close()
    assert await asyncio.to_thread(running.wait, 60) == 141
    assert running.stderr.read() == b""


def test_a_put_that_waits_for_its_input_can_be_interrupted(process: Process, cli: Cli) -> None:
    running = process("put", "-", "/never", "--debug")
    assert running.stdin is not None
    assert running.stderr is not None
    running.stdin.write(b"x" * 5 * MIB)
    running.stdin.flush()
    while "/never" not in cli("ls").stdout:
        pass
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 143
    assert cli("ls").stdout == ""  # half of it would be of no use
    assert b"azdriver: terminated\n" in running.stderr.read()


async def test_an_interrupted_put_of_a_pipe_leaves_the_version_before(
    driver: AzureBlobDriver, process: Process
) -> None:
    await driver.put_content("/dump", b"yesterday")
    running = process("put", "-", "/dump", "--debug")
    assert running.stdin is not None
    running.stdin.write(b"x" * 5 * MIB)
    running.stdin.flush()
    while list(await driver.list("/")) == ["/dump"]:
        assert running.poll() is None
        await asyncio.sleep(0.02)
    running.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(running.wait, 60) == 130
    assert list(await driver.list("/")) == ["/dump"]
    assert await driver.get_content("/dump") == b"yesterday"


@pytest.mark.parametrize("write_mode", ["append", "block"])
async def test_a_pipe_replaces_the_version_before_when_it_is_whole(
    driver: AzureBlobDriver,
    process: Process,
    settings: Callable[..., dict[str, str]],
    write_mode: str,
) -> None:
    path = "/" + "d" * 1000 + "/" + "f" * 20  # too long for anything to be added
    await driver.put_content(path, b"yesterday")
    putting = process("put", "-", path, "--verify", env=settings(writemode=write_mode))
    _, err = putting.communicate(LARGE[: 5 * MIB], timeout=60)
    assert (putting.returncode, err) == (0, b"")
    assert await driver.get_content(path) == LARGE[: 5 * MIB]
    assert [info.path async for info in driver.walk("/") if not info.is_dir] == [path]


async def test_a_pipe_or_a_device_is_not_replaced(
    driver: AzureBlobDriver, cli: Cli, tmp_path: Path
) -> None:
    await driver.put_content("/t/f", b"new")
    fifo, link = tmp_path / "f", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    for ran in (
        cli("get", "/t/f", fifo),
        cli("get", "/t/f", link),
        cli("get", "-r", "/t", tmp_path),
    ):
        assert ran.returncode == 1
        assert "is no regular file; use - and the shell's > to write into it" in ran.stderr
    assert fifo.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["f", "link"]


async def test_a_link_that_is_named_stays(
    driver: AzureBlobDriver, cli: Cli, tmp_path: Path
) -> None:
    await driver.put_content("/f", b"new")
    (tmp_path / "other").mkdir()
    link, real = tmp_path / "link", tmp_path / "other" / "real"
    link.symlink_to(real)
    for _ in range(2):  # it leads to nothing at first
        ran = cli("get", "/f", link, "--checksum")
        assert (ran.returncode, ran.stdout) == (0, f"{sha256(b'new')}  {link}\n")
        assert link.is_symlink()
        assert real.read_text() == "new"
        real.write_text("old")
    assert os.listdir(tmp_path / "other") == ["real"]


async def test_hashing_can_be_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 1 << 40)  # would take many minutes
    with anyio.move_on_after(0.01) as scope:
        await hash_of(path)
    assert scope.cancelled_caught


@pytest.mark.parametrize("name", ["ä" * 127, "x" * 255, "x" + "\N{SNOWMAN}" * 84])
async def test_a_part_file_of_a_long_name(
    driver: AzureBlobDriver, cli: Cli, tmp_path: Path, name: str
) -> None:
    assert len(os.fsencode(_Part.beside(tmp_path / name).data.name)) <= 255
    await driver.put_content("/f", b"new")
    assert cli("get", "/f", tmp_path / name).returncode == 0
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("state", ["file", "none"])
async def test_a_put_without_a_directory_for_records(
    driver: AzureBlobDriver,
    cli: Cli,
    large: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path / "file")}
    (tmp_path / "file").touch()
    if state == "none":
        env["XDG_STATE_HOME"] = ""
        monkeypatch.setattr(Path, "home", no_home)
    (tmp_path / "two").symlink_to(large)
    ran = cli("put", large, tmp_path / "two", "/big/", "-v", **env)
    assert ran.returncode == 0
    assert ran.stderr.count("not noted for --resume: ") == 1
    assert cli("put", large, "/big/two", "--resume", **env).returncode == 0
    assert (await driver.stat("/big/two")).size == len(LARGE)


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_records_are_thrown_away_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory = tmp_path / "azdriver" / "uploads"
    directory.mkdir(parents=True)
    (directory / "gone.json").symlink_to("nowhere")  # as if it vanished between list and stat
    old = directory / "old.json"
    old.touch()
    os.utime(old, (1e9, 1e9))
    journal, status = Journal("somewhere"), tmp_path.stat()
    assert journal.begun("/x", tmp_path, status) is None
    assert not old.exists()
    old.touch()
    os.utime(old, (1e9, 1e9))
    assert journal.begun("/x", tmp_path, status) is None
    assert old.exists()
    assert journal.matches("/x", tmp_path, status)


@pytest.mark.parametrize("recursive", [False, True])
async def test_checksums_into_a_pipe_that_is_closed(
    driver: AzureBlobDriver, process: Process, tree: Path, tmp_path: Path, recursive: bool
) -> None:
    (tree / "no path").unlink()
    await driver.put_content("/f/f", b"x")
    for arguments in (
        ("put", "-r", tree, "/t") if recursive else ("put", tree / "a", "/a"),
        ("get", "-r", "/f", tmp_path / "f") if recursive else ("get", "/f/f", tmp_path / "f"),
    ):
        running = process("-q", *arguments, "--checksum")
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert await asyncio.to_thread(running.wait, 60) == 141
        lines = running.stderr.read().decode().splitlines()
        assert [line for line in lines if "left out" not in line] == []


def test_checksums_onto_a_full_disk(settings: Callable[..., dict[str, str]], tree: Path) -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "azdriver", "put", tree / "a", "/a", "--checksum"],
            env={**os.environ, **settings()},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (ran.returncode, ran.stderr) == (1, b"azdriver: No space left on device\n")


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("put - /a <&-", 1),
        ("put - /a </dev/null >&-", 0),  # which prints nothing
        ("stat / >&-", 1),
        ("stat / <&-", 0),
        ("cat /none 2>&-", 3),
    ],
)
def test_standard_streams_that_are_closed(
    settings: Callable[..., dict[str, str]], command: str, status: int
) -> None:
    ran = subprocess.run(
        ["sh", "-c", f'"$0" -P -X dev -W error -m azdriver {command}', sys.executable],
        env={**os.environ, **settings()},
        stderr=subprocess.PIPE,
        timeout=60,
    )
    said = b"azdriver: Bad file descriptor\n" if status == 1 else b""
    assert (ran.returncode, ran.stderr) == (status, said)


async def test_a_pipe_that_cannot_be_moved_into_its_place_is_kept(
    driver: AzureBlobDriver, process: Process, settings: Callable[..., dict[str, str]]
) -> None:
    await driver.put_content("/dump", b"yesterday")
    container = settings()["AZDRIVER_URL"].partition("?")[0].rpartition("/")[2]
    connection = driver_connection(driver)
    async with BlobClient.from_connection_string(connection, container, "dump") as blob:
        lease = await blob.acquire_lease()  # so that nobody else may write
        putting = process("put", "-", "/dump")
        _, err = await asyncio.to_thread(putting.communicate, LARGE[: 5 * MIB], 60)
        await lease.release()
    assert putting.returncode == 1
    (kept,) = [path for path in await driver.list("/") if path != "/dump"]
    assert f"azdriver: all that was read is at {kept}, if it is not at /dump\n" in err.decode()
    assert await driver.get_content(kept) == LARGE[: 5 * MIB]
    assert await driver.get_content("/dump") == b"yesterday"
