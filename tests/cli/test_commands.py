"""Every command but the transfers: help, good and bad use, what a pipe gets."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import aiohttp
import pytest
from yarl import URL

from azdriver import AzureBlobDriver, __version__
from azdriver.cli.app import app
from azdriver.testing.azurite import AzuriteServer

Cli = Callable[..., CompletedProcess[str]]

COMMANDS = sorted(app.commands)
TREE = {"/a/one": b"1", "/a/deep/two": b"22", "/ab": b"333", "/b": b"4" * 2048}


@pytest.fixture
async def stored(driver: AzureBlobDriver) -> AzureBlobDriver:
    for path, content in TREE.items():
        await driver.put_content(path, content)
    return driver


def one_line(ran: CompletedProcess[str]) -> str:
    """The error's only line."""
    assert ran.stdout == ""
    assert ran.stderr.endswith("\n")
    assert ran.stderr.count("\n") == 1
    return ran.stderr.rstrip("\n")


def test_there_are_all_commands() -> None:
    assert {
        *["ls", "cat", "put", "get", "stat", "mv", "rm", "du", "tree", "url", "emulator", "bench"]
    } <= {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_help(cli: Cli, command: str) -> None:
    ran = cli(command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"Usage: azdriver {command} [OPTIONS]")
    assert "Options of every command:\n  -u, --url URL" in ran.stdout
    assert "PARSE_" not in ran.stdout  # the name of a function
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())


def test_help_of_all(cli: Cli) -> None:
    for arguments in (["--help"], []):
        ran = cli(*arguments)
        shown = ran.stdout + ran.stderr
        assert "130  interrupted by Ctrl-C" in shown
        for command in COMMANDS:
            assert re.search(rf"^  {command} +[A-Z].*\.$", shown, re.MULTILINE), command
        assert "..." not in shown.partition("Commands:")[2]
    assert cli("--version").stdout == f"azdriver {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_one_line(cli: Cli, command: str) -> None:
    ran = cli(command, "--no-such")
    assert ran.returncode == 2
    assert one_line(ran).startswith("azdriver: No such option")
    assert one_line(ran).endswith(f"(see 'azdriver {command} --help')")


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["cat"], 2, "Missing argument 'PATH...'"),
        (["cat", "/none"], 3, "azure: path not found: /none"),
        (["cat", "none"], 2, "azure: invalid path: 'none': a path starts with a slash"),
        (["cat", "/a", "--offset", "-1"], 2, "Invalid value for '--offset'"),
        (["stat", "/none"], 3, "azure: path not found: /none"),
        (["stat", ""], 2, "azure: invalid path"),
        (["ls", "/none"], 3, "azure: path not found: /none"),
        (["ls", "/../x"], 2, "azure: invalid path"),
        (["tree", "/none"], 3, "azure: path not found: /none"),
        (["du", "/none"], 3, "azure: path not found: /none"),
        (["mv", "/none", "/other"], 3, "azure: path not found: /none"),
        (["mv", "/a"], 2, "Missing argument 'DEST'"),
        (["rm", "/none"], 3, "azure: path not found: /none"),
        (["rm", "/", "-y"], 2, "the root cannot be deleted"),
        (["url", "none"], 2, "azure: invalid path"),
        (["url", "/a", "--expires", "soon"], 2, "Invalid value for '-e' / '--expires': 'soon'"),
        (["url", "/a", "--expires", "0s"], 2, "azure: invalid expiry"),
        (["url", "/a", "--method", "PUT"], 2, "Invalid value for '--method'"),
        (["put", "/etc/hostname"], 2, "Missing argument 'LOCAL...'"),
        (["put", "/no/such/file", "/x"], 1, "/no/such/file: No such file or directory"),
        (["put", ".", "/x"], 1, ". is a directory: give -r"),
        (["put", "/dev/null", "/x"], 1, "/dev/null is neither a file nor a directory"),
        (["put", "-", "/x/"], 2, "the standard input goes to one path"),
        (["get", "/none"], 3, "azure: path not found: /none"),
        (["get", "-r", "/none"], 3, "azure: path not found: /none"),
        (["get", "/none", "-", "--resume"], 2, "to the standard output goes one file"),
        (["bench", "--size", "much"], 2, "Invalid value for '-s' / '--size': 'much'"),
        (
            ["completion"],
            2,
            "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish (",
        ),
        (["completion", "cmd"], 2, "Invalid value for '{bash|zsh|fish}'"),
        (["emulator", "--port", "70000"], 2, "Invalid value for '--port'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli(*arguments)
    assert ran.returncode == status
    assert one_line(ran).startswith("azdriver: ")
    assert error in one_line(ran)


async def test_ls(stored: AzureBlobDriver, cli: Cli) -> None:
    assert cli("ls").stdout == "/a/\n/ab\n/b\n"
    assert cli("ls", "/a").stdout == cli("ls", "/a/").stdout == "/a/deep/\n/a/one\n"
    assert cli("ls", "/ab").stdout == "/ab\n"
    assert cli("ls", "-R").stdout == "/a/\n/a/deep/\n/a/deep/two\n/a/one\n/ab\n/b\n"
    lines = cli("ls", "-l").stdout.splitlines()
    assert re.fullmatch(r" {13}-  - {19}  /a/", lines[0])
    assert re.fullmatch(
        r" {11}333  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  /ab".replace("333", "  3"), lines[1]
    )
    assert "   2.0 KiB  " in cli("ls", "-lH").stdout


async def test_ls_as_json(stored: AzureBlobDriver, cli: Cli) -> None:
    found = [json.loads(line) for line in cli("ls", "--json").stdout.splitlines()]
    assert [info["path"] for info in found] == ["/a", "/ab", "/b"]
    info = await stored.stat("/b")
    assert info.mod_time is not None
    assert found[2] == {
        "path": "/b",
        "is_dir": False,
        "size": 2048,
        "mod_time": info.mod_time.isoformat(),
        "etag": info.etag,
    }
    assert found[0]["is_dir"] is True
    assert found[0]["size"] is None


def test_ls_of_an_empty_root(cli: Cli) -> None:
    ran = cli("ls")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


async def test_tree(stored: AzureBlobDriver, cli: Cli) -> None:
    assert cli("tree").stdout == (
        "/\n├── a/\n│   ├── deep/\n│   │   └── two\n│   └── one\n├── ab\n└── b\n"
        "\n2 directories, 4 files\n"
    )
    assert cli("tree", "/a", "-d", "1").stdout == (
        "/a/\n├── deep/\n└── one\n\n1 directory, 1 file\n"
    )
    assert "├── [             3]  ab\n" in cli("tree", "-s").stdout


async def test_tree_of_a_path_that_is_file_and_directory(driver: AzureBlobDriver, cli: Cli) -> None:
    for path in ("/x", "/x/y", "/z"):
        await driver.put_content(path, b"")
    assert cli("tree").stdout.startswith("/\n├── x\n├── x/\n│   └── y\n└── z\n")


async def test_du(stored: AzureBlobDriver, cli: Cli) -> None:
    def shown(*arguments: str) -> list[list[str]]:
        return [line.split() for line in cli("du", *arguments).stdout.splitlines()]

    assert shown() == [["3", "2", "/a/"], ["2054", "4", "/"]]
    assert shown("-d", "0") == [["2054", "4", "/"]]
    assert shown("-d", "9") == [["3", "2", "/a/"], ["2", "1", "/a/deep/"], ["2054", "4", "/"]]
    assert shown("/a") == [["2", "1", "/a/deep/"], ["3", "2", "/a/"]]
    assert json.loads(cli("du", "--json", "/a/deep").stdout) == {
        "path": "/a/deep",
        "size": 2,
        "files": 1,
    }


async def test_stat(stored: AzureBlobDriver, cli: Cli) -> None:
    ran = cli("stat", "/b", "/a/")
    assert "path:      /b\ntype:      file\nsize:      2048 (2.0 KiB)\n" in ran.stdout
    assert ran.stdout.endswith("path:      /a\ntype:      directory\n")
    assert json.loads(cli("stat", "--json", "/b").stdout)["size"] == 2048
    ran = cli("stat", "/none", "/b", "/nothing")
    assert ran.returncode == 1
    assert ran.stdout.startswith("path:      /b\n")
    assert ran.stderr.count("path not found") == 2


async def test_cat(stored: AzureBlobDriver, cli: Cli) -> None:
    assert cli("cat", "/ab", "/a/one").stdout == "3331"
    assert cli("cat", "/ab", "--offset", "1").stdout == "33"
    assert cli("cat", "/b", "--offset", "2040", "--length", "5").stdout == "44444"
    assert cli("cat", "/ab", "--offset", "10").stdout == ""


async def test_mv(stored: AzureBlobDriver, cli: Cli) -> None:
    assert cli("mv", "/ab", "/a/").stdout == ""
    assert await stored.get_content("/a/ab") == b"333"
    assert "/a/ab -> /c" in cli("mv", "-v", "/a/ab", "/c").stderr
    ran = cli("mv", "/a", "/d")
    assert ran.returncode == 1
    assert one_line(ran) == "azdriver: /a is a directory, and only files can be moved"


async def test_rm(stored: AzureBlobDriver, cli: Cli) -> None:
    assert cli("rm", "/ab").returncode == 0
    ran = cli("rm", "/a")
    assert ran.returncode == 2
    assert one_line(ran).endswith("/a is a directory: give --yes to delete all that is below it")
    assert list(await stored.list("/")) == ["/a", "/b"]
    ran = cli("rm", "--yes", "/none", "/a/", "/b")
    assert ran.returncode == 1
    assert one_line(ran).endswith("path not found: /none")
    assert list(await stored.list("/")) == []


async def test_url(stored: AzureBlobDriver, cli: Cli) -> None:
    ran = cli("url", "/ab", "-e", "90s")
    assert ran.stderr == ""
    async with aiohttp.ClientSession() as session:
        # It works as it is given: nothing is to be encoded anew.
        async with session.get(URL(ran.stdout.strip(), encoded=True)) as answer:
            assert await answer.read() == b"333"


def test_bench(cli: Cli) -> None:
    ran = cli("bench", "-n", "10", "-s", "1K", "-j", "3", "--json")
    assert ran.returncode == 0
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [row["operation"] for row in rows] == ["put", "stat", "list", "get"]
    assert [row["count"] for row in rows] == [10, 10, 1, 10]
    assert all(row["p50_ms"] <= row["p99_ms"] for row in rows)
    assert "10 files of 1.0 KiB, 3 at once, in /azdriver-bench-" in ran.stderr
    shown = cli("bench", "/x", "-n", "2", "-s", "0", "--stream", "-q")
    assert shown.stderr == ""
    assert [line.split()[0] for line in shown.stdout.splitlines()] == [
        "count", "put", "stat", "list", "get",
    ]  # fmt: skip
    assert cli("ls").stdout == ""


def test_bench_cleans_up_when_it_is_interrupted(
    cli: Cli, process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    running = process("bench", "-n", "100000", "-s", "1K")
    assert running.stderr is not None
    while not cli("ls").stdout.startswith("/azdriver-bench-"):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert running.stderr.read().endswith(b"\nazdriver: interrupted\n")
    assert cli("ls").stdout == ""


@pytest.mark.parametrize("command", [("ls",), ("get", "/a", "-"), ("rm", "/a"), ("du",)])
def test_a_mistyped_container_is_not_created(
    cli: Cli, azurite_server: AzuriteServer, command: tuple[str, ...]
) -> None:
    url = (
        f"azure://{azurite_server.account_name}/mistyped?serviceurl={azurite_server.blob_endpoint}"
    )
    for _ in range(2):
        ran = cli(*command, "--url", url)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr == "azdriver: azure: parameter container: does not exist: mistyped\n"


def test_put_creates_a_container_unless_told_otherwise(
    cli: Cli, azurite_server: AzuriteServer, container: str
) -> None:
    url = f"azure://{azurite_server.account_name}/{container}-2"
    url += f"?serviceurl={azurite_server.blob_endpoint}"
    refused = cli("put", __file__, "/a", "--url", f"{url}&createcontainer=false")
    assert refused.returncode == 2
    assert refused.stderr.endswith(f"does not exist: {container}-2\n")
    assert cli("put", __file__, "/a", "--url", url).returncode == 0
    assert cli("ls", "--url", url).stdout == "/a\n"


def test_bench_tells_the_requests_of_a_driver_that_counts_them(cli: Cli) -> None:
    ran = cli("bench", "-n", "3", "--json")
    requests = {
        line["operation"]: line["requests"] for line in map(json.loads, ran.stdout.splitlines())
    }
    assert requests == {"put": 6, "get": 3, "stat": 3, "list": 1}
    assert "requests\n" in cli("bench", "-n", "1").stderr
    assert "requests" not in cli("bench", "-n", "1", "--url", "memory:").stderr


def test_nothing_of_azure_is_loaded_for_a_help() -> None:
    code = (
        "import sys; from azdriver.cli import main; main(['--help']); main(['get', '--help'])\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('azure', 'aiohttp', 'rich')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_without_the_extra_it_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from azdriver import cli

    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "click" else name)
    assert cli.main(["ls"]) == 1
    assert capsys.readouterr() == (
        "",
        "azdriver: the command line takes click: python -m pip install 'azdriver[cli]'\n",
    )
