"""What a person sees: bars, colours and questions, on a wide terminal and on a narrow one."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pexpect
import pyte
import pytest

from azdriver import AzureBlobDriver
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.proxy import fault_proxy

MIB = 1024 * 1024


class Terminal:
    """A command on a terminal of its own, and what that shows."""

    def __init__(self, columns: int, env: dict[str, str], arguments: tuple[str, ...]) -> None:
        self._screen = pyte.Screen(columns, 50)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self.child = pexpect.spawn(
            sys.executable,
            ["-P", "-W", "error", "-m", "azdriver", *arguments],
            env=env,
            dimensions=(50, columns),
            timeout=60,
        )

    def read(self) -> bool:
        """Whether there may be more."""
        try:
            data = self.child.read_nonblocking(65536, timeout=0.05)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def read_for(self, *, seconds: float) -> bool:
        """Read so long, or to the end; whether there may be more."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.read():
                return False
        return True

    @property
    def lines(self) -> list[str]:
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def wait_for(self, text: str) -> str:
        """The line of the screen with a text."""
        until = time.monotonic() + 60
        while not any(text in line for line in self.lines):
            assert self.read(), self.lines
            assert time.monotonic() < until, self.lines
        return next(line for line in self.lines if text in line)

    def end(self) -> int:
        """The exit status."""
        until = time.monotonic() + 60
        while self.read():
            assert time.monotonic() < until, self.lines
        self.child.close()
        assert self.child.exitstatus is not None
        return int(self.child.exitstatus)


@pytest.fixture
def terminal(settings: Callable[..., dict[str, str]]) -> Iterator[Callable[..., Terminal]]:
    with ExitStack() as stack:

        def start(*arguments: str | Path, columns: int = 80, **env: str) -> Terminal:
            usual = {"LANG": "C.UTF-8", "TERM": "xterm-256color", "NO_COLOR": ""}
            # What says a size goes before the terminal's own.
            mine = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
            started = Terminal(
                columns, {**mine, **usual, **settings(), **env}, tuple(map(str, arguments))
            )
            stack.callback(started.child.close, force=True)
            return started

        yield start


@pytest.mark.parametrize("columns", [40, 60, 160])
async def test_a_bar_that_ctrl_c_takes_away(
    azurite_server: AzuriteServer,
    settings: Callable[..., dict[str, str]],
    terminal: Callable[..., Terminal],
    tmp_path: Path,
    columns: int,
) -> None:
    (tmp_path / "big").write_bytes(os.urandom(40 * MIB))
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        proxy.bytes_per_second = 1000  # of answers: so a few blocks a second
        command = terminal(
            "put", tmp_path / "big", "/big", columns=columns, **settings(proxy.endpoint)
        )

        def interrupt() -> str:
            line = command.wait_for("%")
            # The speed is there once there are two steps to tell it from.
            while " 0%" in line or (columns >= 90 and "iB/s" not in line):
                assert command.read()
                line = command.wait_for("%")
            command.child.sendintr()
            assert command.end() == 130
            return line

        bar = await asyncio.to_thread(interrupt)
    assert bar.startswith("put /big")
    assert len(bar) <= columns
    assert ("━" in bar) == (columns >= 60)
    assert ("MiB" in bar) == (columns >= 60)
    assert ("iB/s" in bar) == (columns >= 90)
    text = "azdriver: interrupted: the same command with --resume goes on"
    # The terminal breaks the line where it is full, maybe at a blank.
    shown = "".join(command.lines).removeprefix("^C")
    assert shown.replace(" ", "") == text.replace(" ", "")


async def test_a_line_above_the_bar(
    driver: AzureBlobDriver, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    for name in ("a", "no path", "z"):
        (tmp_path / name).write_text(name)
    command = terminal("put", "-r", tmp_path, "/t", "-j", "1", columns=60)
    assert command.end() == 1
    shown = "".join(command.lines)
    assert "azdriver: azure: invalid path: '/t/no path'" in shown
    assert "azdriver: stored 2 files, 2 B in" in shown
    assert "%" not in shown
    assert list(await driver.list("/t")) == ["/t/a", "/t/z"]


@pytest.mark.parametrize("answer", ["n", "y"])
async def test_a_directory_is_deleted_when_a_person_agrees(
    driver: AzureBlobDriver, terminal: Callable[..., Terminal], answer: str
) -> None:
    for path in ("/a/b", "/a/c/d", "/ab"):
        await driver.put_content(path, b"x" * 1024)
    command = terminal("rm", "/a")
    assert command.wait_for("[y/N]:") == "Delete /a/ with 2 files (2.0 KiB)? [y/N]:"
    command.child.sendline(answer)
    assert command.end() == (0 if answer == "y" else 1)
    assert command.lines[1:] == ([] if answer == "y" else ["azdriver: /a was kept"])
    assert list(await driver.list("/")) == (["/ab"] if answer == "y" else ["/a", "/ab"])


async def test_a_question_that_is_not_answered(
    driver: AzureBlobDriver, terminal: Callable[..., Terminal]
) -> None:
    await driver.put_content("/a/b", b"")
    command = terminal("rm", "/a")
    command.wait_for("[y/N]:")
    # One that comes between the question and the read is noticed with the next: as a person does.
    while command.read_for(seconds=1):
        command.child.sendintr()
    assert command.end() == 130
    assert (await driver.stat("/a")).is_dir


@pytest.mark.parametrize("no_color", ["", "1"])
async def test_colours(
    driver: AzureBlobDriver, terminal: Callable[..., Terminal], no_color: str
) -> None:
    await driver.put_content("/a/b", b"")
    await driver.put_content("/c", b"")
    command = terminal("tree", NO_COLOR=no_color)
    assert command.end() == 0
    assert (b"\x1b[34m" in command.raw) == (not no_color)
    assert command.lines == ["/", "├── a/", "│   └── b", "└── c", "", "1 directory, 2 files"]


@pytest.mark.parametrize("columns", [60, 160])
def test_a_help_fits(terminal: Callable[..., Terminal], columns: int) -> None:
    command = terminal("--help", columns=columns)
    assert command.end() == 0
    # None was broken by the terminal in the middle of a word.
    assert b"  2    wrong command line, environment or configuration\r\n" in command.raw
    assert all(len(line) <= columns for line in command.raw.decode().splitlines())
