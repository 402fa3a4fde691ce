"""Histories: a hard load on few paths, recorded, and checked for linearizability.

``python -m azdriver.testing.histories --operations 200000`` runs it against an Azurite of its
own: several processes, each with several drivers and many tasks, half of the drivers under random
faults. Every operation is written down with its times (``time.monotonic_ns``, which processes of
one machine share on Linux), its outcome and its value, which no other operation writes.
:func:`check_histories` turns that into one history for each path, and gives it to
:mod:`azdriver.testing.linearizability`. The exit status is other than 0 if it finds anything.

What is put to the checker is the contract, and of azdriver's own only what it documents:

- a put onto a legacy append blob may delete that one, and only that, before it writes;
- ``move`` is not one instant: a write of the source's content at the destination, and at the
  source a deletion of what was copied; an error leaves open whether they happened;
- an error other than the contract's definite ones leaves open whether a write happened.

What is known besides comes from the wire, below the faults: which version each move copied, which
ETags each write got, and when an operation had the answer to its last request. So a write of
unknown outcome is given no more time than it had. It also shows where azdriver's two documented
limits were met: a put or a move that was sent again after a lost answer, onto a path where nothing
was by then, and had taken effect before; and a deletion that succeeded, after a lost answer, where
nothing was. The check excuses neither, and shows the difference by a second one that does.
With ``raise_if_unsure``, or with ``retries=0``, azdriver has no such limits.
"""

from __future__ import annotations

from azdriver.testing.histories.checking import check_histories, run
from azdriver.testing.histories.load import Load
from azdriver.testing.histories.operations import operations_by_path
from azdriver.testing.histories.processes import record_histories
from azdriver.testing.histories.records import Record, Sent
from azdriver.testing.histories.report import PathResult, Report

__all__ = [
    "Load",
    "PathResult",
    "Record",
    "Report",
    "Sent",
    "check_histories",
    "operations_by_path",
    "record_histories",
    "run",
]
