"""Which HTTP status each error has: the one place where that is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from azdriver import (
    BackendError,
    ConcurrentWriteError,
    ContentTooLargeError,
    InvalidPathError,
    PartialDeleteError,
    PathNotFoundError,
    PreconditionFailedError,
    StorageDriverError,
    UnsupportedMethodError,
)

__all__ = ["STATUSES", "Answer", "RequestRefused", "answer_to"]

STATUSES: Final[Mapping[type[StorageDriverError], HTTPStatus]] = {
    InvalidPathError: HTTPStatus.BAD_REQUEST,
    PathNotFoundError: HTTPStatus.NOT_FOUND,
    ConcurrentWriteError: HTTPStatus.CONFLICT,
    PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    ContentTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMethodError: HTTPStatus.NOT_IMPLEMENTED,
    BackendError: HTTPStatus.BAD_GATEWAY,
    # Deleting again finishes it.
    PartialDeleteError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""All others are mistakes of the app's own: 500."""

# The service is too busy, or did not answer: the same request may succeed later.
_TRY_AGAIN: Final = (None, 429, 503)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request that was not carried out is answered by, as JSON."""

    status: int
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, str]:
        return {"error": self.reason}


class RequestRefused(Exception):
    """The app itself refuses a request, before the driver is asked or instead."""

    def __init__(
        self, status: HTTPStatus, reason: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, reason)
        self.answer = Answer(status, reason or status.phrase, headers or {})


def answer_to(error: RequestRefused | StorageDriverError) -> Answer:
    """The answer to a request that ended so.

    The driver's message is for the log. A client learns no more of the backend than the status,
    and which rule its path breaks.
    """
    if isinstance(error, RequestRefused):
        return error.answer
    if isinstance(error, BackendError) and error.status in _TRY_AGAIN:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    else:
        kinds = (STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
        status = next(kinds, HTTPStatus.INTERNAL_SERVER_ERROR)
    reason = error.reason if isinstance(error, InvalidPathError) else status.phrase
    is_passing = status is HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, reason, {"Retry-After": "1"} if is_passing else {})
