"""What does a reader see while two writers put at one path? Recorded on Azurite, drawn as SVG.

``python -m benchmarks.timeline --record`` records anew: two writers, one content of A's and one of
B's, over one of O's, and a reader that never pauses; first by the append writer of before 2016,
then by azdriver.
Without ``--record`` the picture is drawn of the recording that is there, the same to the byte.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from azdriver import AzureBlobDriver, PathNotFoundError
from azdriver.testing.azurite import azurite
from benchmarks.harness import ROOT

__all__ = ["draw", "record"]

RECORDING: Final = ROOT / "benchmarks" / "results" / "timeline.jsonl"
PICTURE: Final = ROOT / "docs" / "explanation" / "race-timeline.svg"
BLOCKS: Final = 3
BLOCK_BYTES: Final = 256 * 1024
WHOLE: Final = BLOCKS * BLOCK_BYTES
CONTAINER: Final = "timeline"

Row = dict[str, Any]


class Recorder:
    """Who did what, from when to when, in milliseconds since the beginning."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.rows: list[Row] = []
        self.began = time.perf_counter()

    def _now(self) -> float:
        return round((time.perf_counter() - self.began) * 1000, 2)

    async def step(self, who: str, what: str, call: Awaitable[Any]) -> Any:
        row: Row = {"way": self.way, "who": who, "what": what, "start_ms": self._now()}
        try:
            answer = await call
        except (ResourceNotFoundError, PathNotFoundError):
            row["outcome"] = "404"
            return None
        except HttpResponseError as error:
            row["outcome"] = str(error.status_code)
            return None
        else:
            row["outcome"] = "ok"
            if isinstance(answer, bytes):
                row["bytes_of"] = {letter: answer.count(letter.encode()) for letter in COLOURS}
            return answer
        finally:
            row["end_ms"] = self._now()
            self.rows.append(row)


async def _put_old(recorder: Recorder, who: str, blob: BlobClient) -> None:
    """As contents were put before 2016: through the writer."""
    block = who.encode() * BLOCK_BYTES
    await recorder.step(who, "delete", blob.delete_blob())
    await recorder.step(who, "create", blob.create_append_blob())
    for _ in range(BLOCKS):
        await recorder.step(who, "append", blob.append_block(block))


async def _race(
    recorder: Recorder,
    put: Callable[[str], Awaitable[None]],
    get: Callable[[], Awaitable[bytes]],
) -> None:
    finished = asyncio.Event()
    recorder.began = time.perf_counter()

    async def read() -> None:
        while not finished.is_set():
            await recorder.step("reader", "get", get())

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await asyncio.sleep(0.02)
        async with asyncio.TaskGroup() as writers:
            for who in "AB":
                writers.create_task(_as_coroutine(put(who)))
        await asyncio.sleep(0.02)
        finished.set()


async def _as_coroutine(call: Awaitable[None]) -> None:
    await call


async def record() -> list[Row]:
    """Both ways, against an Azurite of its own."""
    async with azurite() as server:
        connection_string = server.connection_string
        old = Recorder("append writer")
        async with (
            AzureBlobDriver.from_connection_string(connection_string, CONTAINER) as driver,
            BlobServiceClient.from_connection_string(connection_string, retry_total=0) as service,
        ):
            blob = service.get_blob_client(CONTAINER, "old")
            await blob.create_append_blob()
            for _ in range(BLOCKS):
                await blob.append_block(b"O" * BLOCK_BYTES)

            async def get() -> bytes:
                return await (await blob.download_blob()).readall()

            await _race(old, lambda who: _put_old(old, who, blob), get)

            new = Recorder("azdriver")
            await driver.put_content("/new", b"O" * WHOLE)

            async def put(who: str) -> None:
                content = who.encode() * WHOLE
                await new.step(who, "put_content", driver.put_content("/new", content))

            await _race(new, put, lambda: driver.get_content("/new"))
    return old.rows + new.rows


# The picture. Legible on white and on black; plain text, so that drawing it needs no library.

INK: Final = "#7d8590"
COLOURS: Final = {"O": "#9aa3ad", "A": "#3b82f6", "B": "#d29922"}
BAD: Final = "#e5534b"
WIDTH: Final = 900
LEFT: Final = 80
LANE: Final = 30
WHOLE_HEIGHT: Final = 40
READS: Final = 2 * WHOLE_HEIGHT  # so much there may be, if both append to one blob
PANEL: Final = 2 * LANE + READS + 66
TITLES: Final = {
    "append writer": "By the append writer, as before 2016: delete, create, append, append, append",
    "azdriver": "By azdriver: put_content",
}


def draw(rows: Sequence[Row]) -> str:
    """The picture of a recording."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {2 * PANEL + 24}" '
        'font-family="sans-serif" font-size="11">',
        "<title>What a reader gets while two writers put at one path</title>",
    ]
    for number, (way, title) in enumerate(TITLES.items()):
        parts += _panel([row for row in rows if row["way"] == way], title, number * PANEL)
    return "\n".join([*parts, *_legend(2 * PANEL + 6), "</svg>"]) + "\n"


def _panel(rows: Sequence[Row], title: str, top: int) -> list[str]:
    end = max(row["end_ms"] for row in rows)

    def x(milliseconds: float) -> float:
        return float(round(LEFT + (WIDTH - LEFT - 10) * milliseconds / end, 1))

    parts = [_text(4, top + 16, title, size=13, weight="bold")]
    for lane, who in enumerate("AB"):
        y = top + 28 + lane * LANE
        parts.append(_text(4, y + 14, f"writer {who}"))
        for row in rows:
            if row["who"] == who:
                width = max(x(row["end_ms"]) - x(row["start_ms"]) - 1, 1)
                failed = row["outcome"] != "ok"
                colour = BAD if failed else COLOURS[who]
                said = f"{row['what']}: {row['outcome']}" if failed else row["what"]
                shown = said if width > 6 * len(said) else ""
                parts.append(_bar(x(row["start_ms"]), y, width, LANE - 8, colour, said))
                parts.append(_text(x(row["start_ms"]) + 4, y + 15, shown, colour="#fff"))
    y = top + 28 + 2 * LANE + 4
    parts.append(_text(4, y + READS - WHOLE_HEIGHT / 2 + 4, "reader gets"))
    parts += [part for row in rows if row["who"] == "reader" for part in _read(row, x, y)]
    parts.append(_text(LEFT, y + READS + 14, "0 ms"))
    parts.append(_text(WIDTH - 10, y + READS + 14, f"{end:.0f} ms", anchor="end"))
    return [part for part in parts if part]


def _read(row: Row, x: Callable[[float], float], y: float) -> list[str]:
    """One read: as high as it has bytes, of the colours that it has."""
    left = x(row["start_ms"])
    width = max(x(row["end_ms"]) - left - 1, 1)
    if row["outcome"] != "ok":
        return [
            _bar(left, y + READS - 3, width, 3, BAD, f"get: {row['outcome']}"),
            _text(left + width / 2, y + READS - 8, "404", colour=BAD, anchor="middle"),
        ]
    base = y + READS
    parts = [
        f'<rect x="{left}" y="{base - WHOLE_HEIGHT}" width="{width:.1f}" height="{WHOLE_HEIGHT}" '
        f'fill="none" stroke="{INK}" stroke-width="0.8"/>'
    ]
    for letter, count in row["bytes_of"].items():
        height = WHOLE_HEIGHT * count / WHOLE
        if height:
            base -= height
            parts.append(_bar(left, base, width, height, COLOURS[letter], f"{count} of {letter}"))
    return parts


def _legend(y: float) -> list[str]:
    said = (
        "A read is as high as it has bytes; the frame is one whole content. Grey: the content of "
        "before; blue: A's; yellow: B's. Full and of one colour is right."
    )
    return [_text(4, y + 10, said)]


def _bar(
    x: float, y: float, width: float, height: float, colour: str, said: str, opacity: float = 1
) -> str:
    return (
        f'<rect x="{x}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" '
        f'fill-opacity="{opacity}"><title>{said}</title></rect>'
    )


def _text(
    x: float,
    y: float,
    said: str,
    *,
    size: int = 11,
    weight: str = "normal",
    colour: str = INK,
    anchor: str = "start",
) -> str:
    if not said:
        return ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{said}</text>'
    )


def read_recording() -> list[Row]:
    """The recording that is in the repository."""
    return [json.loads(line) for line in RECORDING.read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="record anew first")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args()
    if given.record:
        rows = asyncio.run(record())
        RECORDING.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    given.picture.write_text(draw(read_recording()), "utf-8")


if __name__ == "__main__":
    main()
