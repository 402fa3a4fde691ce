"""The cells of the table, operation × request × lie, and what is wrong with how one ends."""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote

from azdriver import AzureBlobDriver, FileInfo, StorageDriverError
from azdriver.paths import is_path
from liar.bodies import framing_lies
from liar.documents import batch_lies, listing_lies
from liar.heads import header_lies, redirect_lies, status_lies
from liar.lies import Hostile
from liar.messages import SECRET, Request
from liar.operations import OPERATIONS, Target
from liar.polite import polite
from liar.server import Server

__all__ = ["HANG_SECONDS", "LIES", "cells", "fault_of", "struck"]

# No cell may take longer. The longest is a legacy blob whose deletion is never answered: it is
# looked at 20 times, and each time the driver waits as long as for any request.
HANG_SECONDS: Final = 15.0


LIES: Final = [
    *header_lies(),
    *status_lies(),
    *framing_lies(),
    *redirect_lies(),
    *(replace(hostile, on="List Blobs") for hostile in listing_lies()),
    *(replace(hostile, on="Blob Batch") for hostile in batch_lies()),
]


def cells(
    name: str, targets: dict[Target, Request], *, slow: bool
) -> Iterator[tuple[Target, Hostile]]:
    """Each request with each lie that is one about it.

    The default run takes a fourth of them, and a 16th for the second and later requests of a
    kind; another fourth for each operation, so that each lie has its turn. ``AZDRIVER_SOAK``
    takes them all.
    """
    shift = list(OPERATIONS).index(name)
    for turn, (target, request) in enumerate(targets.items()):
        answer = polite(request)
        for number, hostile in enumerate(LIES):
            if hostile.slow != slow or hostile.on not in ("", target[0]):
                continue
            if hostile.lie(request, answer) == answer:
                continue
            every = 4 if target[1] == 0 else 16
            if "AZDRIVER_SOAK" in os.environ or (number + turn + shift) % every == 0:
                yield target, hostile


def _is_info(info: object) -> bool:
    if not isinstance(info, FileInfo) or not is_path(info.path):
        return isinstance(info, FileInfo) and info.path == "/" and info.is_dir
    if info.is_dir:
        return (info.size, info.mod_time, info.etag) == (0, None, None)
    return (
        isinstance(info.size, int)
        and info.size >= 0
        and info.mod_time is not None
        and info.mod_time.utcoffset() == timedelta(0)
        and isinstance(info.etag, str)
        and len(info.etag) > 2
        and info.etag[0] == info.etag[-1] == '"'
    )


def fault_of(name: str, result: Any, right: Any, *, consistent: bool) -> str:
    """What is wrong with a result; "" if nothing is."""
    if isinstance(right, FileInfo):
        # After a lost answer a put does not always know the version.
        if name.startswith("put") and isinstance(result, FileInfo) and result.etag is None:
            result = replace(result, etag=right.etag)
        if not _is_info(result) or result.path != right.path:
            return f"no FileInfo: {result!r:.200}"
    elif name == "list":
        if not all(is_path(path) and path.startswith("/dir/") for path in result):
            return f"paths from elsewhere: {result!r:.200}"
        if result != sorted(set(result)):
            return f"not sorted, or twice: {result!r:.200}"
    elif name.startswith("walk"):
        if not all(_is_info(info) for info in result):
            return f"no FileInfo: {result!r:.200}"
    elif type(result) is not type(right):
        return f"another type: {result!r:.200}"
    if not consistent and not name.startswith(("put", "stat")) and result != right:
        return f"wrong: {result!r:.200}"
    return ""


async def struck(
    server: Server,
    driver: AzureBlobDriver,
    name: str,
    right: Any,
    target: Target,
    hostile: Hostile,
) -> str:
    """Run one cell; what is wrong with its outcome, "" if nothing is."""
    server.reset()
    server.lie, (server.operation, server.skip) = hostile.lie, target
    try:
        async with asyncio.timeout(HANG_SECONDS):
            result = await OPERATIONS[name](driver)
    except StorageDriverError as error:
        fault = "a secret in the message" if SECRET in str(error) else ""
        if len(str(error)) > 10_000:  # a header, which aiohttp bounds
            fault = f"a message of {len(str(error))} characters"
    except TimeoutError:
        fault = "hangs"
    except Exception as error:
        fault = f"{type(error).__module__}.{type(error).__name__}: {error!s:.200}"
    else:
        fault = fault_of(name, result, right, consistent=hostile.consistent)
    for request in server.requests:
        inner = re.findall(rb"^(?:DELETE|PUT|GET) (/[^ ?]*)", request.body, re.MULTILINE)
        for path in [request.path, *(unquote(part.decode()) for part in inner)]:
            if not f"{posixpath.normpath(path)}/".startswith("/account/cage/"):
                fault = fault or f"a request to {path}"
    if server.visitors:
        server.visitors = 0
        fault = fault or "a visit to another host"
    return fault
