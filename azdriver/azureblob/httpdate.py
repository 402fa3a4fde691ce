"""The dates of HTTP, as the service writes them: ``Tue, 24 Nov 2026 10:00:00 GMT``.

``strptime`` takes longer for one than all the rest of a listed blob.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from azure.core.exceptions import DecodeError

__all__ = ["parse_day", "parse_http_date"]

_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


def parse_http_date(text: str | None) -> datetime:
    """A date as an aware datetime.

    Raises:
        DecodeError: it is none.
    """
    try:
        if text and text[3:5] == ", " and text[19] == text[22] == ":" and text[25:] == " GMT":
            hour, minute, second = int(text[17:19]), int(text[20:22]), int(text[23:25])
            return datetime(*parse_day(text[5:16]), hour, minute, second, tzinfo=UTC)
    except (LookupError, ValueError):
        pass
    raise DecodeError("malformed answer: no date where there has to be one")


@lru_cache(maxsize=512)
def parse_day(text: str) -> tuple[int, int, int]:
    """Year, month and day of a date such as ``24 Nov 2026``.

    Raises:
        ValueError: it is none.
    """
    day, month, year = text.split(" ")
    if len(month) != 3:
        raise ValueError(month)
    return int(year), _MONTHS.index(month) // 4 + 1, int(day)
