"""Whether what is there was there before a write of ours whose answer was lost.

A write is sent without knowing what it meets: a deletion, or a copy onto its destination. If its
answer is lost and something is there afterwards, it is either what was there all the time, so
that ours was not applied; or what a rival wrote after ours. To send it again then would undo a
write that came later. Its age tells, by the service's own clock; a blob's Last-Modified and the
answer's Date have whole seconds, so what is only just older stays in doubt.
"""

from __future__ import annotations

import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobProperties

from azdriver.azureblob.client import Clients
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.translate import is_missing

__all__ = ["Evidence"]

# Both times are cut to seconds, and two servers of the service may set them.
MARGIN_SECONDS: Final = 2.0


class Evidence:
    """Looks at a blob, and back to when this was made, before the first attempt."""

    def __init__(self, clients: Clients, name: BlobName) -> None:
        self._clients = clients
        self._name = name
        self._began = time.monotonic()

    async def look(self) -> tuple[BlobProperties | None, bool]:
        """What is there now, if anything; and whether it certainly was there from the beginning."""
        dates: list[str] = []
        began = self._began

        def keep_date(response: Any) -> None:
            dates.append(response.http_response.headers.get("Date") or "")

        try:
            now = await self._clients.blob(self._name).get_blob_properties(
                raw_response_hook=keep_date
            )
        except AzureError as error:
            if is_missing(error):
                return None, False
            raise
        passed = time.monotonic() - began
        date = _parsed(dates[-1]) if dates else None
        if date is None or now.last_modified is None:
            return now, False
        age = (date - now.last_modified).total_seconds()
        return now, age >= passed + MARGIN_SECONDS


def _parsed(date: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(date)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None
