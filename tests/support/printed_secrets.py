"""The search for secrets in what a test has printed and logged."""

from __future__ import annotations

import re
from typing import Final

from azdriver.testing.azurite import DEVSTORE_KEY

__all__ = ["printed_secret"]

# What is hidden has something else behind the name, such as three dots.
_SECRET: Final = re.compile(
    r"sig=[A-Za-z0-9+/%]{12}"
    r"|AccountKey=[A-Za-z0-9+/%]{12}"
    r"|SharedKey [a-z0-9]+:"
    r"|Bearer [A-Za-z0-9._-]{12}"
    rf"|{re.escape(DEVSTORE_KEY[:24])}"
)


def printed_secret(text: str) -> str | None:
    """The first that has the form of a secret, or is Azurite's key; with what is before it."""
    found = _SECRET.search(text)
    return text[max(0, found.start() - 40) : found.end()] if found else None
