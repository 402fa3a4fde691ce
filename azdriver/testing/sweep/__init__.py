"""Every operation × every request that it sends × every fault, and every point of cancellation.

Nothing is listed by hand but the operations: each is run once to see what it sends and where it
waits; then once for each of those places, with a fault or a cancellation there. Two ends are
allowed: success, and the store holds exactly the right bytes; or an error of the contract (or
the cancellation), and the store is as before, or in a state that the operation documents.

``python -m azdriver.testing.sweep`` prints the table of outcomes against an Azurite of its own.
"""

from __future__ import annotations

from azdriver.testing.sweep.cases import CASES, Case
from azdriver.testing.sweep.faults import FAULTS
from azdriver.testing.sweep.lab import Lab, cancel_everywhere, sweep
from azdriver.testing.sweep.outcomes import Cell, table

__all__ = ["CASES", "FAULTS", "Case", "Cell", "Lab", "cancel_everywhere", "sweep", "table"]
