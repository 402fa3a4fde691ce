"""The registry's program in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from yarl import URL

import azdriver
import oci_registry

__all__ = ["registry_url", "start_registry"]


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
