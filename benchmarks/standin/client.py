"""Starts the stand-in in a process of its own, and talks to its control endpoints."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

__all__ = ["Standin", "standin"]

ROOT = Path(__file__).parents[2]


class Standin:
    """A running stand-in, by its endpoint; blocking, for use between measurements."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        parts = urlsplit(endpoint)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def _ask(self, verb: str, **fields: Any) -> Any:
        self._connection.request("POST", f"/_standin/{verb}?{urlencode(fields)}")
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"the stand-in answered {response.status} to {verb}: {body!r}")
        return json.loads(body)

    def shape(
        self, *, delay_ms: float = 0, bytes_per_second: float = 0, discard_above: int | None = None
    ) -> None:
        """The network from now on, and the length above which a body is not kept."""
        above = "" if discard_above is None else discard_above
        self._ask(
            "shape", delay_ms=delay_ms, bytes_per_second=bytes_per_second, discard_above=above
        )

    def container(self, name: str) -> None:
        """Make a container, new and empty."""
        self._ask("container", name=name)

    def fill(
        self, container: str, *, directories: int, count: int, size: int = 1024, prefix: str = ""
    ) -> None:
        """Plant a tree of ``PREFIXdirectory-NNN/blob-NNNNNNNN``."""
        self._ask(
            "fill",
            container=container,
            directories=directories,
            count=count,
            size=size,
            prefix=prefix,
        )

    def synthetic(self, container: str, name: str, size: int) -> None:
        """Plant one blob of any size, which takes no memory."""
        self._ask("synthetic", container=container, name=name, size=size)

    def counters(self, *, reset: bool = False) -> dict[str, Any]:
        """What was asked of it, and its CPU, since the last reset."""
        counters: dict[str, Any] = self._ask("counters", **({"reset": 1} if reset else {}))
        return counters

    def close(self) -> None:
        self._connection.close()


@contextmanager
def standin() -> Iterator[Standin]:
    """Start one, and stop it again."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.standin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the stand-in ended with status {process.wait()}")
        server = Standin(json.loads(line)["endpoint"])
        try:
            yield server
        finally:
            server.close()
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
