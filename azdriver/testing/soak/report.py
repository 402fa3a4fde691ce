"""What a soak found, what of it is wrong, and the bounds that decide that."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from azdriver.testing.soak.load import CONNECTIONS, KIB, OUTAGE_SECONDS
from azdriver.testing.soak.samples import Sample

# A leak of one object of 64 bytes in each operation, the smallest that is worth the name, is
# about 1 MiB a minute at the 300 operations a second of a small machine. Below this, the slope
# is that of the allocator's fragments, which has no direction: in 8 minutes +957 and -405 were
# seen, with no more of Python's objects than before. It falls with the length of the run.
MAX_SLOPE_KIB_PER_MINUTE: Final = 1024.0
SLOPE_NEEDS_SECONDS: Final = 1200.0
# In a shorter run the caches of the libraries and the allocator still fill up.
MAX_SHORT_GROWTH_KIB: Final = 16 * KIB
# Of Python's objects, per operation: a leak in any of the more frequent ones is more. They are
# counted exactly, so that a run of some minutes judges them: what 64 tasks hold at one moment
# or another makes 0.2 in five minutes, and less in longer ones.
MAX_BLOCKS_PER_OPERATION: Final = 0.25
BLOCKS_NEED_SECONDS: Final = 600.0
# How late a caller's own time-out may take effect: the driver's word is 1 s.
MAX_LATE_SECONDS: Final = 1.0


@dataclass(slots=True)
class Report:
    """What a soak found. ``wrong`` has to be empty, and so has what ``problems`` returns."""

    tasks: int
    seed: int
    fault_share: float
    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    bytes: int = 0
    resumed: int = 0
    latest_timeout: float = 0.0
    descriptors_before: int = 0
    descriptors_after: int = 0
    leaked_tasks: int = 0
    leaked_connections: int = 0

    @property
    def seconds(self) -> float:
        return self.samples[-1].seconds

    @property
    def second_half(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.seconds >= self.seconds / 2]

    def _slope(self, value: Callable[[Sample], int]) -> float:
        """Per minute, by least squares over the second half."""
        half = self.second_half
        minutes = [sample.seconds / 60 for sample in half]
        return statistics.linear_regression(minutes, [value(sample) for sample in half]).slope

    @property
    def slope_kib_per_minute(self) -> float:
        """Of resident memory."""
        return self._slope(lambda sample: sample.rss_kib)

    @property
    def blocks_per_operation(self) -> float:
        """How many more of Python's objects are held after each, in the second half."""
        half = self.second_half
        operations = half[-1].operations - half[0].operations
        minutes = (half[-1].seconds - half[0].seconds) / 60
        return self._slope(lambda sample: sample.blocks) * minutes / max(1, operations)

    @property
    def growth_kib(self) -> float:
        """Of resident memory, between the medians of the third and the fourth quarter."""
        half = [sample.rss_kib for sample in self.second_half]
        return statistics.median(half[len(half) // 2 :]) - statistics.median(half[: len(half) // 2])

    def problems(self) -> list[str]:
        """Why the soak failed; empty if it did not."""
        found = [f"wrong: {text}" for text in self.wrong]
        if self.leaked_tasks:
            found.append(f"{self.leaked_tasks} tasks are left")
        if self.leaked_connections:
            found.append(f"{self.leaked_connections} connections were never given back")
        if self.descriptors_after > self.descriptors_before:
            found.append(
                f"{self.descriptors_after} file descriptors are open after the end, "
                f"{self.descriptors_before} were before"
            )
        # Two drivers are open at times: the one under load, and one that is opened and closed.
        most = self.descriptors_before + CONNECTIONS + self.tasks
        if (highest := max(sample.descriptors for sample in self.samples)) > most:
            found.append(f"{highest} file descriptors were open, {most} are explained")
        if self.seconds >= SLOPE_NEEDS_SECONDS:
            if self.slope_kib_per_minute > MAX_SLOPE_KIB_PER_MINUTE:
                found.append(f"memory grows by {self.slope_kib_per_minute:,.0f} KiB a minute")
        elif self.growth_kib > MAX_SHORT_GROWTH_KIB:
            found.append(f"memory grew by {self.growth_kib:,.0f} KiB within half the run")
        left = self.blocks_per_operation
        if self.seconds >= BLOCKS_NEED_SECONDS and left > MAX_BLOCKS_PER_OPERATION:
            found.append(f"{left:.2f} objects are left over from each operation")
        late = MAX_LATE_SECONDS + max(sample.lateness for sample in self.samples)
        if self.latest_timeout > late:
            found.append(f"a caller's time-out took effect {self.latest_timeout:.2f} s late")
        return found

    def __str__(self) -> str:
        first, last = self.samples[0], self.samples[-1]
        total = sum(self.operations.values())
        rates = [
            (after.operations - before.operations) / (after.seconds - before.seconds)
            for before, after in zip(self.samples, self.samples[1:], strict=False)
        ]
        quarter = max(1, len(rates) // 4)
        peak = max(sample.rss_kib for sample in self.samples)
        descriptors = [sample.descriptors for sample in self.samples]
        bound = (
            f"bound {MAX_SLOPE_KIB_PER_MINUTE:,.0f}"
            if self.seconds >= SLOPE_NEEDS_SECONDS
            else f"too short to judge; third to fourth quarter {self.growth_kib:+,.0f} KiB, "
            f"bound {MAX_SHORT_GROWTH_KIB:,}"
        )
        lines = [
            f"{self.seconds:,.0f} s, {self.tasks} tasks on {CONNECTIONS} connections, "
            f"seed {self.seed}, faults at {self.fault_share:.1%} of the requests"
            + (f", outages of {OUTAGE_SECONDS:g} s" if self.fault_share else ""),
            f"operations         {total:,}: {total / self.seconds:,.0f}/s (first quarter "
            f"{statistics.fmean(rates[:quarter]):,.0f}/s, last "
            f"{statistics.fmean(rates[-quarter:]):,.0f}/s); {self.requests:,} requests, "
            f"{self.bytes / KIB / KIB:,.0f} MiB checked",
            f"  by kind          {_counts(self.operations)}",
            f"errors by type     {_counts(self.errors)}",
            f"faults struck      {_counts(self.faults)}",
            f"streams resumed    {self.resumed:,}",
            f"caller's time-outs latest {self.latest_timeout:.2f} s after its moment; the event "
            f"loop was late by up to {max(sample.lateness for sample in self.samples):.2f} s",
            f"memory             {self.slope_kib_per_minute:+,.0f} KiB/minute over the second half "
            f"({bound}); RSS first {first.rss_kib:,}, last {last.rss_kib:,}, peak {peak:,} KiB",
            f"Python's objects   {self.blocks_per_operation:+.3f} blocks/operation over the second "
            f"half (bound {MAX_BLOCKS_PER_OPERATION:g}); first {first.blocks:,}, last "
            f"{last.blocks:,}",
            f"file descriptors   before {self.descriptors_before}, first {descriptors[0]}, last "
            f"{descriptors[-1]}, most {max(descriptors)}, after closing {self.descriptors_after}",
            f"connections in use at most {max(sample.connections for sample in self.samples)} of "
            f"{CONNECTIONS}; never given back {self.leaked_connections}",
            f"asyncio tasks      at most {max(sample.tasks for sample in self.samples)}; "
            f"left over {self.leaked_tasks}",
        ]
        problems = self.problems()
        lines += [f"PROBLEM: {problem}" for problem in problems[:20]]
        lines.append(f"{len(problems)} problems" if problems else "nothing wrong")
        return "\n".join(lines)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common()) or "none"
