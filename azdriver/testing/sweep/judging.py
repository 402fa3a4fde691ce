"""Whether an operation came to an end that is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from azdriver.azureblob import AzureBlobDriver
from azdriver.errors import NotAppendableError, PathNotFoundError, StorageDriverError
from azdriver.testing.sweep.cases import DATA, Case, Store, plain
from azdriver.testing.sweep.faults import RIVAL
from azdriver.testing.sweep.outcomes import Cell


async def judge(
    case: Case, fault: str, place: int, call: Awaitable[Any], clean: AzureBlobDriver
) -> Cell:
    error: BaseException | None = None
    result: Any = None
    try:
        async with asyncio.timeout(20):
            result = await call
    except (StorageDriverError, asyncio.CancelledError) as caught:
        error = caught
        if isinstance(caught, asyncio.CancelledError) and fault != "cancelled":
            raise
    except Exception as caught:
        wrong = f"{type(caught).__name__} escaped: {caught}"
        return Cell(case.name, fault, place, "", wrong)
    store = await _contents(clean)
    if fault == "412 by a rival":
        return _judge_rival(case, place, error, result, store)
    before = plain(case.before)
    if error is not None and case.resumes and (wrong := await _resumed(clean)):
        return Cell(case.name, fault, place, "", wrong)
    if error is None:
        after = before if case.after is None else case.after
        wrong = "" if store == after else f"the store holds {_shown(store)}"
        if case.result is not None and result != case.result:
            wrong = f"the result is {result!r:.200}"
        return Cell(case.name, fault, place, "ok", wrong)
    if store == before:
        return Cell(case.name, fault, place, "error: as before")
    for word, fits in case.ends.items():
        if fits(store):
            return Cell(case.name, fault, place, f"error: {word}")
    if fault == "cancelled" and store == case.after:
        # A cancelled write may have been applied: its body had been sent.
        return Cell(case.name, fault, place, "error: done")
    return Cell(case.name, fault, place, "", f"after {error!r}: {_shown(store)}")


def _judge_rival(
    case: Case, place: int, error: BaseException | None, result: Any, store: Store
) -> Cell:
    """No value but whole ones: ours, what was there, or the rival's."""
    whole = {RIVAL, DATA, *case.before.values()}
    if case.after is not None:
        whole |= set(case.after.values())
    for path, content in store.items():
        is_part = "resumable" in case.ends and DATA.startswith(content)
        if content not in whole and not (error is not None and is_part):
            wrong = f"{path} is torn: {content!r:.100}"
            return Cell(case.name, "412 by a rival", place, "", wrong)
    if isinstance(result, bytes) and result not in (case.result, RIVAL, RIVAL[10:]):
        return Cell(case.name, "412 by a rival", place, "", f"torn read: {result!r:.100}")
    outcome = "ok" if error is None else f"error: {type(error).__name__}"
    return Cell(case.name, "412 by a rival", place, outcome)


async def _contents(driver: AzureBlobDriver) -> dict[str, bytes]:
    return {
        info.path: await driver.get_content(info.path)
        async for info in driver.walk("/")
        if not info.is_dir
    }


async def _resumed(driver: AzureBlobDriver) -> str:
    """Go on with the stream where ``size`` says; what is wrong with the result."""
    try:
        async with driver.writer("/a", append=True) as writer:
            found = writer.size
            await writer.write(DATA[found:])
            await writer.commit()
    except (PathNotFoundError, NotAppendableError):
        return ""  # nothing of the stream had been stored: what was there before still is
    content = await driver.get_content("/a")
    return "" if content == DATA else f"resumed at {found} bytes, it is not what was written"


def _shown(store: Store) -> str:
    return (
        ", ".join(f"{path}: {len(content)} bytes" for path, content in store.items()) or "nothing"
    )
