"""What ends a command: one line on the error stream, and an exit status."""

from __future__ import annotations

import re
from typing import Final

import click

from azdriver.errors import (
    ConfigurationError,
    InvalidExpiryError,
    InvalidOffsetError,
    InvalidPathError,
    PathNotFoundError,
    StorageDriverError,
)

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NOT_FOUND",
    "PIPE_CLOSED",
    "TERMINATED",
    "USAGE",
    "Failure",
    "UsageFailure",
    "describe",
    "redacted",
    "status_of",
]

FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
# As a shell has it for a process that a signal ended.
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141
TERMINATED: Final = 143

_USAGE_ERRORS: Final = (
    ConfigurationError,
    InvalidExpiryError,
    InvalidOffsetError,
    InvalidPathError,
)

# azdriver's own messages hold no secret. This is for what a user put in a wrong place, and for
# what other libraries say.
_SECRET = re.compile(
    r"(?i)\b((?:sig|accountkey|account_key|sastoken|secret|client_secret|password|access_token"
    r"|sharedaccesssignature)(?:%3D|=)\s*|(?:bearer|sharedkey)\s+)[^\s&;,'\"<>]{4,}"
    r"|\b[A-Za-z0-9+/]{40,}={1,2}"  # an account key
)


class Failure(Exception):
    """Ends the command with a message, which may be empty if all was said, and a status."""

    def __init__(self, message: str = "", status: int = FAILED) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message


class UsageFailure(Failure):
    """The command line, the environment or the configuration file is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(message, USAGE)


def status_of(error: BaseException) -> int:
    """The exit status that an error ends the process with."""
    if isinstance(error, Failure):
        return error.status
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, PathNotFoundError):
        return NOT_FOUND
    return USAGE if isinstance(error, _USAGE_ERRORS) else FAILED


def describe(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, click.ClickException):
        text = " ".join(error.format_message().split())  # a list of choices has lines
    elif isinstance(error, Failure | StorageDriverError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        named = "" if error.filename is None else f"{error.filename}: "
        text = f"{named}{error.strerror}"
    else:
        text = f"internal error: {type(error).__name__}: {error}"
    return redacted("; ".join(line.strip() for line in text.splitlines() if line.strip()))


def redacted(text: str) -> str:
    """A text without what looks like a secret."""
    return _SECRET.sub(r"\1…", text)
