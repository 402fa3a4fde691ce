"""Which columns the tables of peers have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.report.results import (
    BLOCK_TUNING,
    MB,
    MIB,
    RANGE_TUNING,
    Value,
    cpu,
    cpu_per_op,
    first_byte,
    growth,
    megabytes_per_second,
    requests,
    seconds,
    stall,
)

__all__ = ["EMULATOR", "IMPORTS", "READS", "SMALL", "SMALL_WALL", "TREES", "WRITES", "Column"]


@dataclass(frozen=True)
class Column:
    """One column of a table of peers."""

    title: str
    value: Value
    workload: str
    setting: dict[str, Any]


SMALL: Final = [
    Column(
        f"{what}, {tasks} task{'s' if tasks > 1 else ''}: CPU µs",
        lambda row: cpu_per_op(row) * 1e6,
        what,
        {"tasks": tasks, "tuning": ..., "over": None},
    )
    for what in ("get", "put")
    for tasks in (1, 16, 64, 256)
]


SMALL_WALL: Final = [
    Column(
        f"{what}, 64 tasks, {shape}: per s",
        lambda row: int(row["ops"]) / float(row["seconds"]),
        what,
        {"tasks": 64, "tuning": ..., "shape": shape, "over": None},
    )
    for what in ("get", "put")
    for shape in ("none", "5ms")
] + [
    Column("put 16 MiB, 16 tasks: MB/s", megabytes_per_second, "put_large", {"over": None}),
    Column("memory growth, MB", growth, "put_large", {"over": None}),
]


def _write(title: str, value: Value, shape: str, tuning: Any = None, pace: Any = None) -> Column:
    setting = {"shape": shape, "tuning": tuning, "bytes_per_second": pace}
    return Column(title, value, "write", setting)


WRITES: Final = [
    _write("no limit: MB/s", megabytes_per_second, "none"),
    _write("CPU s", cpu, "none"),
    _write("growth, MB", growth, "none"),
    _write("no limit, 16 in flight: MB/s", megabytes_per_second, "none", BLOCK_TUNING),
    _write("growth, MB", growth, "none", BLOCK_TUNING),
    _write("20 ms: MB/s", megabytes_per_second, "20ms"),
    _write("paced, 20 ms: s", seconds, "20ms", None, 200e6),
    _write("limited: MB/s", megabytes_per_second, "limited"),
    _write("limited, 16 in flight: MB/s", megabytes_per_second, "limited", BLOCK_TUNING),
    _write("growth, MB", growth, "limited", BLOCK_TUNING),
]


def _read(title: str, value: Value, shape: str, tuning: Any = None) -> Column:
    return Column(title, value, "read", {"shape": shape, "tuning": tuning})


READS: Final = [
    _read("no limit: MB/s", megabytes_per_second, "none"),
    _read("CPU s", cpu, "none"),
    _read("growth, MB", growth, "none"),
    _read("20 ms: MB/s", megabytes_per_second, "20ms"),
    _read("first byte, ms", lambda row: first_byte(row) * 1000, "20ms"),
    _read("limited: MB/s", megabytes_per_second, "limited"),
    _read("first byte, ms", lambda row: first_byte(row) * 1000, "limited"),
    _read("limited, 8 × 8 MiB: MB/s", megabytes_per_second, "limited", RANGE_TUNING),
    _read("growth, MB", growth, "limited", RANGE_TUNING),
]


TREES: Final = [
    Column("list: CPU ms", lambda row: cpu_per_op(row) * 1000, "list_tree", {}),
    Column("walk 100,000: CPU s", cpu, "walk_tree", {}),
    Column("wall s", seconds, "walk_tree", {}),
    Column("longest stall, ms", lambda row: stall(row) * 1000, "walk_tree", {}),
    Column("growth, MB", growth, "walk_tree", {}),
    Column("requests", requests, "walk_tree", {}),
    Column("delete 10,000: CPU s", cpu, "delete_tree", {}),
    Column("wall s", seconds, "delete_tree", {}),
    Column("requests", requests, "delete_tree", {}),
]


IMPORTS: Final = [
    Column("import: ms", lambda row: seconds(row) * 1000, "import", {}),
    Column("modules", lambda row: float(row["modules"]), "import", {}),
    Column("of azure and aiohttp", lambda row: float(row["azure_modules"]), "import", {}),
    Column("peak of the process, MB", lambda r: float(r["peak_rss_bytes"]) / MB, "import", {}),
]


def _emulator(workload: str, what: str, **setting: Any) -> Column:
    return Column(
        what, lambda row: float(row["seconds"]) / int(row["ops"]) * 1e6, workload, setting
    )


EMULATOR: Final = [
    *(
        _emulator(f"emulator_{verb}", f"{title} {name}", size=size)
        for verb, title in (("put_get", "put+get"), ("stream", "stream"))
        for size, name in ((0, "empty"), (1024, "1 KiB"), (MIB, "1 MiB"))
    ),
    *(
        _emulator(f"emulator_{verb}", f"{verb} of {entries}", entries=entries)
        for verb in ("list", "delete")
        for entries in (5, 50)
    ),
]
