"""What README and documentation show runs, page by page, in the order in which it is read.

A page has a directory and an empty Azurite of its own. Each fenced block is, by its language:

- ``python``: a program, or a test module if there is a test in it; it is run. One that begins with
  ``# NAME.py`` is saved under that name. If the page says ``python NAME.py``, it is run there; if
  another program imports it, it is not run by itself.
- ``sh``: run, if its commands are those of ``RUN``. Others (an installation, a long run) are not;
  what they name is to exist: the extra, the session, the module, the file.
- ``text``: what the block before it printed; ``…`` stands for anything.
- ``yaml`` and ``toml``: loaded by what reads them; if it begins with ``# NAME.yml``, by a program
  that follows.
- without a language, or a directive in braces: no code.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from azure.storage.blob import BlobServiceClient

from azdriver.testing.azurite import AzuriteServer, azurite
from doc_checks import CHECKS
from doc_pages import PAGES, Block, blocks_of, commands_of, name_of

RUN = ("azdriver", "cat", "echo", "export", "grep", "ls", "mkdir", "printf")
AZDRIVER = f'azdriver() {{ "{sys.executable}" -P -m azdriver "$@"; }}\n'
# Without what whoever runs the tests has set for azdriver.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("AZDRIVER_", "AZURE_", "REGISTRY_")) or name == "AZDRIVER_CACHE"
}
LEFT_BEHIND = re.compile(r"Exception ignored|never retrieved|Unclosed|was never awaited")


class Forks:
    """The process of ``forks.py``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]
    ) -> tuple[int, str]:
        """Exit status and output of a program, or of the tests in it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = directory / ".output"
        job = {
            "arguments": arguments,
            "directory": str(directory),
            "environment": environment,
            "output": str(output),
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        printed = output.read_text("utf-8")
        output.unlink()
        return status, printed


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    command = [sys.executable, "-P", "-W", "error", str(Path(__file__).with_name("forks.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=CLEAN
    ) as process:
        yield Forks(process)


@pytest.fixture(scope="module")
def own_azurite() -> Iterator[AzuriteServer]:
    """Never one that runs already: it is emptied for each page."""
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(azurite(environment=CLEAN)) as server:
            yield server


@pytest.fixture
def environment(own_azurite: AzuriteServer) -> dict[str, str]:
    """What a reader has set; and an Azurite that no other page has left anything in."""
    connection_string = own_azurite.connection_string
    with BlobServiceClient.from_connection_string(connection_string) as service:
        for container in service.list_containers():
            service.delete_container(container)
    return {
        "AZURE_STORAGE_CONNECTION_STRING": connection_string,
        "AZDRIVER_AZURITE": connection_string,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # A page's look does not depend on who runs it.
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=name_of)
def test_its_code_runs(
    page: Path, forks: Forks, environment: dict[str, str], tmp_path: Path
) -> None:
    printed: str | None = None
    blocks = blocks_of(page)
    elsewhere = _run_elsewhere(blocks)
    for block in blocks:
        (tmp_path / block.file_name).write_text(block.code, "utf-8")
        if block.language == "text":
            assert printed is not None, f"{block}: nothing is run before it"
            assert _is_output(printed, block.code), f"{block}: this is printed:\n{printed}"
            continue
        status, printed = 0, None
        if block.language == "python":
            if block.file_name not in elsewhere:
                status, printed = forks.run([block.file_name], tmp_path, environment)
        elif block.language == "sh" and _is_run(block):
            status, printed = _run_shell(block, forks, tmp_path, environment)
        else:
            CHECKS[block.language.partition(" ")[0]](block)
        assert status == 0, f"{block}: exit status {status}:\n{printed}"
        assert not LEFT_BEHIND.search(printed or ""), f"{block}:\n{printed}"


def _run_elsewhere(blocks: Sequence[Block]) -> set[str]:
    """The programs that the page starts by their name, or imports."""
    code = "\n".join(block.code for block in blocks)
    return {
        f"{name}.py"
        for name in re.findall(r"^(?:python|from) (\w+)(?:\.py$| import)", code, re.MULTILINE)
    }


def _is_output(printed: str, shown: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in shown.strip().split("…"))
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(pattern, lines, re.DOTALL) is not None


def _is_run(block: Block) -> bool:
    return all(
        command[0] in RUN or (command[0] == "python" and command[1].endswith(".py"))
        for command in commands_of(block)
    )


def _run_shell(
    block: Block, forks: Forks, directory: Path, environment: dict[str, str]
) -> tuple[int, str]:
    """Plain commands of ours in forks, after what is exported; others in a shell."""
    commands = commands_of(block)
    names = {command[0] for command in commands}
    if re.search(r"[|<>$*?&;]", block.code) or names - {"azdriver", "export", "python"}:
        return _in_shell(block, directory, environment)
    status, printed = 0, ""
    for command in commands:
        if command[0] == "export":
            given = dict(setting.split("=", 1) for setting in command[1:])
            # Not the account: that one stays Azurite's.
            environment |= {k: v for k, v in given.items() if not k.startswith("AZURE_")}
        elif status == 0:
            arguments = command[1:] if command[0] == "python" else command
            status, more = forks.run(arguments, directory, environment)
            printed += more
    return status, printed


def _in_shell(block: Block, directory: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", AZDRIVER + block.code],
        cwd=directory,
        encoding="utf-8",
        env={**CLEAN, **environment, "PYTHONWARNINGS": "error"},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return ran.returncode, ran.stdout
