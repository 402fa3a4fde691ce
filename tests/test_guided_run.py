"""The guided run: on a small directory of awkward files, and on a blob that was tampered with."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azdriver import AzureBlobDriver, Buffer, FileInfo, StorageDriverError, parse_path
from azdriver.testing.azurite import AzuriteServer
from guided_run import cli, steps
from guided_run.cli import CONNECTION_STRING, main
from guided_run.names import FILES, LONG, file_of, name_of, path_of, segment_of
from guided_run.source import scan
from guided_run.steps import STEPS, Done, Run, Step

TOUR = Path(__file__).parents[1] / "examples" / "tour.py"
MIB = 1024 * 1024
PLAIN_FILES = 25


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """33 files: odd names, an empty one, one of 9 MiB; and three things that are no files."""
    root = tmp_path_factory.mktemp("files")
    rng = random.Random(1)
    (root / "package" / "deep" / "er").mkdir(parents=True)
    for number in range(PLAIN_FILES):
        where = (root, root / "package", root / "package" / "deep" / "er")[number % 3]
        (where / f"__file_{number}__.py").write_bytes(rng.randbytes(rng.randrange(1, 5000)))
    for name in ("a b+c.txt", "_x2B", "+", "ends.", "umlaut-ä", "new\nline", "[bold]"):
        (root / "package" / name).write_text(name, "utf-8")
    (root / "large.bin").write_bytes(rng.randbytes(9 * MIB))
    (root / "package" / "empty").touch()
    (root / "nothing in it").mkdir()
    (root / "link").symlink_to(root / "package", target_is_directory=True)
    (root / "dangling").symlink_to(root / "missing")
    return root


def run_main(server: AzuriteServer, *arguments: str | Path) -> int:
    return main(["--connection-string", server.connection_string, *map(str, arguments)])


def test_all_comes_back(
    azurite_server: AzuriteServer, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(azurite_server, "--path", directory) == 0
    output = capsys.readouterr().out
    total = re.search(r"│ Stored and checked +│(.*)│", output)
    assert total is not None
    files, size, requests, _, mismatches = (cell.strip() for cell in total[1].split("│"))
    assert (files, mismatches) == (str(PLAIN_FILES + 9), "0")
    assert size.startswith("9.")
    assert int(requests.replace(",", "")) > 100
    for step in STEPS:
        assert f"] {step.title}" in output
        assert f"│ {step.title}" in output
    assert re.search(r"Append Block +│ +3 │", output)  # 9 MiB in blocks of 4
    assert "Not stored: 1 × link to a directory" in output
    assert "Not stored: 1 × empty directory" in output
    assert "Not stored: 1 × file that cannot be read" in output
    assert "\x1b[" not in output
    assert azurite_server.account_key not in output
    assert "sig=" not in output
    assert output.rstrip().endswith("0 mismatches.")


def test_as_a_program(azurite_server: AzuriteServer, tmp_path: Path) -> None:
    (tmp_path / "only one").write_bytes(b"\x00\xff")
    ran = subprocess.run(
        [sys.executable, TOUR, "--path", tmp_path, "--connection-string"],
        capture_output=True,
        env={**os.environ, CONNECTION_STRING: azurite_server.connection_string},
        encoding="utf-8",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Stored and checked" in ran.stdout


@pytest.mark.parametrize("what", ["other bytes", "cut", "deleted", "added"])
def test_a_mismatch_is_found(
    what: str,
    azurite_server: AzuriteServer,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Someone changes one blob behind the back of the run, after it was stored."""
    victim = f"{FILES}/package/_x5Fx2B"  # the content is the file's name, of 4 bytes

    async def tamper(run: Run) -> Done:
        if what == "added":
            await run.driver.put_content(f"{FILES}/package/_x2B_x2B", b"not ours")
        elif what == "deleted":
            await run.driver.delete(victim)
        else:
            await run.driver.put_content(victim, b"_x2" if what == "cut" else b"_x2C")
        return Done(0, 0, "tampered")

    tampering = Step("Tamper", "Not by the run.", tamper)
    monkeypatch.setattr(cli, "STEPS", (STEPS[0], tampering, *STEPS[1:3]))
    assert run_main(azurite_server, "--path", directory) == 1
    output = capsys.readouterr().out
    expected = {
        "other bytes": f"MISMATCH {victim}: other bytes than were stored",
        "cut": f"MISMATCH {victim}: 3 bytes, not 4",
        "deleted": f"MISMATCH {victim}: is missing",
        "added": "MISMATCH /files/package/_x2B_x2B: walked, but not stored",
    }
    assert expected[what] in output
    assert re.search(r"Stored and checked .*│ +[1-9]\d* │\n", output)
    assert re.search(r"^[1-9]\d* mismatches$", output, re.MULTILINE)


def test_torn_reads_are_found(
    azurite_server: AzuriteServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The race on a put that is none: through the writer, as the driver of 2016 did it."""
    (tmp_path / "file").write_bytes(b"x")

    async def race_by_writer(run: Run) -> Done:
        class ByWriter(AzureBlobDriver):
            async def put_content(
                self,
                path: str,
                content: Buffer,
                *,
                if_match: str | None = None,
                if_absent: bool = False,
            ) -> FileInfo:
                with suppress(StorageDriverError):  # writers are in each other's way
                    async with self.writer(path) as writer:
                        await writer.write(content)
                return FileInfo(path, len(content))

        assert isinstance(run.driver, AzureBlobDriver)
        async with ByWriter(run.driver.options) as driver:
            return await steps.race(replace(run, driver=driver))

    monkeypatch.setattr(cli, "STEPS", (replace(STEPS[-1], work=race_by_writer),))
    assert run_main(azurite_server, "--path", tmp_path) == 1
    assert "reads were no whole version" in capsys.readouterr().out


async def blobs_in(server: AzuriteServer, container: str) -> list[str]:
    async with AzureBlobDriver.from_connection_string(
        server.connection_string, container
    ) as driver:
        return list(await driver.list("/"))


def test_its_container_is_deleted_or_kept(
    azurite_server: AzuriteServer,
    container: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "STEPS", STEPS[:1])
    (tmp_path / "file").write_bytes(b"x")
    arguments = ("--path", tmp_path, "--container", container)
    assert run_main(azurite_server, *arguments) == 0
    assert asyncio.run(blobs_in(azurite_server, container)) == []  # which makes it anew

    assert run_main(azurite_server, *arguments) == 2
    assert f"error: the container {container} exists" in capsys.readouterr().err

    other = f"{container[:50]}-kept"
    assert run_main(azurite_server, *arguments[:-1], other, "--keep") == 0
    assert f"Kept: the container {other}" in capsys.readouterr().out
    assert asyncio.run(blobs_in(azurite_server, other)) == ["/files"]


def test_its_own_azurite_keeps_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AZDRIVER_AZURITE", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli, "STEPS", STEPS[:1])
    files = tmp_path / "files"
    files.mkdir()
    (files / "file").write_bytes(b"x")
    assert main(["--path", str(files), "--keep"]) == 0
    match = re.search(r"its data is in (\S+)\. ", capsys.readouterr().out)
    assert match is not None
    assert Path(match[1], "__azurite_db_blob__.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--path", "{tmp}/missing"], "No such file or directory"),
        (["--path", "{tmp}"], "there are no files in"),
        (["--path", "{here}", "--connection-string", "AccountKey"], "connectionstring: is to be"),
        (["--path", "{here}", "--connection-string"], f"no {CONNECTION_STRING}"),
        (["--path", "{here}", "--container", "A B"], "is not a container name"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(CONNECTION_STRING, raising=False)
    places = {"{tmp}": str(tmp_path), "{here}": str(Path(__file__).parent)}
    for place, directory in places.items():
        arguments = [argument.replace(place, directory) for argument in arguments]
    if "--connection-string" not in arguments:
        arguments += ["--connection-string", "UseDevelopmentStorage=true"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_wrong_key_is_one_line_without_the_key(
    azurite_server: AzuriteServer, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "d3Jvbmc="
    wrong = azurite_server.connection_string.replace(azurite_server.account_key, key)
    assert main(["--path", str(directory), "--connection-string", wrong]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "cannot be created: " in captured.err
    assert key not in captured.err + captured.out


# Names, and back.

names = st.binary(min_size=1, max_size=60).filter(lambda name: b"/" not in name)


@given(name=names)
def test_names_come_back(name: bytes) -> None:
    assert name_of(segment_of(name)) == name


@given(name=st.text("_x2BF.", min_size=1, max_size=12))
def test_names_that_look_like_escapes_come_back(name: str) -> None:
    segment = segment_of(name.encode())
    assert name_of(segment) == name.encode()
    assert parse_path(f"/{segment}", driver="test") == f"/{segment}"


@pytest.mark.skipif(sys.platform == "win32", reason="names on Windows are text")
@given(
    parts=st.lists(
        names.filter(lambda name: name not in (b".", b"..") and b"\0" not in name),
        min_size=1,
        max_size=4,
    )
)
def test_files_come_back(parts: list[bytes]) -> None:
    file = PurePath(*(os.fsdecode(part) for part in parts))
    path = path_of(file)
    assert parse_path(path, driver="test") == path
    assert file_of(path) == file


def test_a_long_name_goes_by_its_hash() -> None:
    one, other = (path_of(PurePath("+" * 255, "+" * 255, end)) for end in ("a", "b"))
    assert one.startswith(LONG + "/")
    assert one != other
    assert len(one) < 100
    assert file_of(one) is None


def test_common_names_stay_as_they_are() -> None:
    assert (
        path_of(PurePath("a-1.0.dist-info", "__init__.py")) == "/files/a-1.0.dist-info/__init__.py"
    )


def test_what_is_beyond_the_limit_is_counted(tmp_path: Path) -> None:
    for name, size in (("a", 10), ("b", 10), ("c", 1)):
        (tmp_path / name).write_bytes(b"x" * size)
    source = scan(tmp_path, limit_bytes=12)
    assert [file.path for file in source.files] == ["/files/a", "/files/c"]
    assert dict(source.skipped) == {"beyond --limit-bytes": [tmp_path / "b"]}
