"""The errors that a client is told of, with the codes of the specification."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

__all__ = ["BodyInterruptedError", "ErrorCode", "OffsetError", "RegistryError", "too_large"]

MAX_DETAIL_CHARACTERS: Final = 300


class ErrorCode(StrEnum):
    """What a client can tell errors apart by.

    Those of the specification, and the few that clients know from Docker's registry.
    """

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNSUPPORTED = "UNSUPPORTED"
    # Docker's.
    PAGINATION_NUMBER_INVALID = "PAGINATION_NUMBER_INVALID"
    RANGE_INVALID = "RANGE_INVALID"
    TAG_INVALID = "TAG_INVALID"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN = "UNKNOWN"


# All others are 400.
_STATUS: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.BLOB_UNKNOWN: 404,
    ErrorCode.BLOB_UPLOAD_UNKNOWN: 404,
    ErrorCode.DENIED: 403,
    ErrorCode.MANIFEST_BLOB_UNKNOWN: 404,
    ErrorCode.MANIFEST_UNKNOWN: 404,
    ErrorCode.NAME_UNKNOWN: 404,
    ErrorCode.RANGE_INVALID: 416,
    ErrorCode.TOOMANYREQUESTS: 429,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.UNKNOWN: 500,
}


class RegistryError(Exception):
    """An answer that is no success.

    Attributes:
        code: what went wrong, for programs.
        message: what went wrong, for people.
        detail: what it is about, such as the digest that was asked for.
        status: the HTTP status.
        headers: those that go with the answer.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        detail: object = None,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        if isinstance(detail, str) and len(detail) > MAX_DETAIL_CHARACTERS:
            detail = detail[:MAX_DETAIL_CHARACTERS] + "…"
        self.detail = detail
        self.status = _STATUS.get(code, 400) if status is None else status
        self.headers = headers or {}

    def body(self) -> dict[str, object]:
        """The answer, as the specification has it."""
        error: dict[str, object] = {"code": str(self.code), "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return {"errors": [error]}


class BodyInterruptedError(RegistryError):
    """The body of a request ended before its end, or nothing came for too long.

    What was read until then is a prefix of what the client meant to send.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(ErrorCode.BLOB_UPLOAD_INVALID, message, status=status)


class OffsetError(RegistryError):
    """A chunk does not begin where the upload ends, or another request writes the upload.

    Attributes:
        size: where the upload ends, in bytes; None if that is not known.
    """

    def __init__(self, message: str, size: int | None = None) -> None:
        super().__init__(ErrorCode.RANGE_INVALID, message)
        self.size = size


def too_large(limit_bytes: int) -> RegistryError:
    """The answer to who sends more than is taken."""
    return RegistryError(
        ErrorCode.SIZE_INVALID,
        f"the limit is {limit_bytes} bytes",
        {"limit": limit_bytes},
        status=413,
    )
