"""Registries as programs of their own: the example, and Debian's."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yarl import URL

import azdriver
import oci_registry

__all__ = [
    "DOCKER_REGISTRY",
    "RunningRegistry",
    "docker_registry",
    "oci_registry_process",
    "registry_url",
    "start_registry",
]

DOCKER_REGISTRY: Final = shutil.which("docker-registry")
_GRACE_SECONDS = 20

_DOCKER_REGISTRY_CONFIG = """\
version: 0.1
storage:
  filesystem:
    rootdirectory: {directory}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:0
"""


@dataclass(frozen=True, slots=True)
class RunningRegistry:
    """A registry that listens."""

    host: str
    """The address and the port, as names of images begin."""
    pid: int

    @property
    def url(self) -> str:
        return f"http://{self.host}/"

    def peak_memory_bytes(self) -> int:
        """The most that was resident at once until now; Linux alone says so."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert found, status
        return int(found[1]) * 1024


async def start_registry(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start ``python -m oci_registry`` with these arguments; it is the caller's to end."""
    places = (Path(azdriver.__file__).parents[1], Path(oci_registry.__file__).parents[1])
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "oci_registry", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, places)),
            **(environment or {}),
        },
    )


async def registry_url(process: asyncio.subprocess.Process) -> URL:
    """Where it serves, as soon as it does."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    if not line.startswith("serving on "):
        _, errors = await process.communicate()
        raise AssertionError(f"the registry did not start: {line}{errors.decode()}")
    return URL(line.removeprefix("serving on ").strip())


@asynccontextmanager
async def oci_registry_process(
    url: str, *options: str, environment: Mapping[str, str] | None = None
) -> AsyncGenerator[RunningRegistry]:
    """``python -m oci_registry serve`` on a free port; it is to end well on SIGTERM."""
    arguments = ("serve", "--url", url, "--port", "0", *options)
    process = await start_registry(*arguments, environment=environment)
    async with _stopped_in_the_end(process) as errors:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        host = line.removeprefix("serving on http://").strip()
        assert host, bytes(errors).decode()
        yield RunningRegistry(host, process.pid)
    assert process.returncode == 0, bytes(errors).decode()
    assert b"Traceback" not in errors, bytes(errors).decode()


@asynccontextmanager
async def docker_registry(directory: Path) -> AsyncGenerator[RunningRegistry]:
    """Debian's ``docker-registry`` on a directory of the files below it, on a free port."""
    assert DOCKER_REGISTRY is not None
    config = directory.with_suffix(".yml")
    config.write_text(_DOCKER_REGISTRY_CONFIG.format(directory=directory))
    process = await asyncio.create_subprocess_exec(
        *(DOCKER_REGISTRY, "serve", str(config)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # Its variables REGISTRY_* would go before the file.
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
    )
    async with _stopped_in_the_end(process) as log:
        # It says the port that it got.
        pattern = re.compile(rb"listening on (127\.0\.0\.1:\d+)")
        while not (found := pattern.search(log)):
            assert process.returncode is None, bytes(log).decode()
            await asyncio.sleep(0.02)
        yield RunningRegistry(found[1].decode(), process.pid)


@asynccontextmanager
async def _stopped_in_the_end(
    process: asyncio.subprocess.Process,
) -> AsyncGenerator[bytearray]:
    """What the process logs, read all the time so that it never waits; then SIGTERM."""
    log = bytearray()

    async def read(pipe: asyncio.StreamReader) -> None:
        while chunk := await pipe.read(65536):
            log.extend(chunk)

    assert process.stderr is not None
    reading = asyncio.create_task(read(process.stderr))
    try:
        yield log
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading
