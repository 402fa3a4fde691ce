"""Whether what is there was there before a write of ours whose answer was lost.

A write is sent without knowing what it meets: a deletion, or a copy onto its destination. If its
answer is lost and something is there afterwards, it is either what was there all the time, so
that ours was not applied; or what a rival wrote after ours. To send it again then would undo a
write that came later. Its age tells, by the service's own clock; a blob's Last-Modified and the
answer's Date have whole seconds, so what is only just older stays in doubt.
"""

from __future__ import annotations

import time
from typing import Final

from azdriver.azureblob.client import Clients
from azdriver.azureblob.lane import BlobHead
from azdriver.azureblob.naming import BlobName

__all__ = ["Evidence"]

# Both times are cut to seconds, and two servers of the service may set them.
MARGIN_SECONDS: Final = 2.0


class Evidence:
    """Looks at a blob, and back to when this was made, before the first attempt."""

    def __init__(self, clients: Clients, name: BlobName) -> None:
        self._clients = clients
        self._name = name
        self._began = time.monotonic()

    async def look(self) -> tuple[BlobHead | None, bool]:
        """What is there now, if anything; and whether it certainly was there from the beginning."""
        now = await self._clients.lane.head(self._name)
        passed = time.monotonic() - self._began
        if now is None or now.date is None:
            return now, False
        age = (now.date - now.last_modified).total_seconds()
        return now, age >= passed + MARGIN_SECONDS
