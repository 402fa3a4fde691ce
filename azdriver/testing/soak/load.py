"""How hard the load is."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
CONNECTIONS: Final = 48  # fewer than tasks: a connection that leaks is missed soon
CANCELLED_SHARE: Final = 0.05  # of the operations: a time-out strikes in their middle
OUTAGE_EVERY_SECONDS: Final = 10.0
OUTAGE_SECONDS: Final = 0.25  # nearly every request fails: longer than the retries endure
HANG_SECONDS: Final = 60.0
OWN_FILES: Final = 6
SHARED_FILES: Final = 8
RETIRED_FILES: Final = 8  # paths given up after a time-out, before the directory is deleted
