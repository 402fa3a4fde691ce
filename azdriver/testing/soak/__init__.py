"""Hours of mixed load with faults, in which nothing may leak, hang, or hold a wrong byte.

``python -m azdriver.testing.soak --seconds 1800 --tasks 64`` runs it against an Azurite of its
own, prints a report, and ends with a status other than 0 if anything is wrong: a byte, an error
that is neither the driver's nor the caller's own time-out, a task or a connection that is left
over, or memory and file descriptors that grow. Linux only: it reads ``/proc/self``.

Each task has paths of its own, of which it knows what they hold, and checks every answer against
that; some paths are shared, and hold contents that show by themselves whether they are whole.
"""

from __future__ import annotations

from azdriver.testing.soak.report import MAX_BLOCKS_PER_OPERATION, Report
from azdriver.testing.soak.running import soak
from azdriver.testing.soak.samples import Sample

__all__ = ["MAX_BLOCKS_PER_OPERATION", "Report", "Sample", "soak"]
