"""The errors that a driver raises on purpose.

Every one is a :class:`StorageDriverError`; its message starts with the driver's name, its
``__cause__`` keeps the backend's own exception, and it survives pickling (so it can cross a
process boundary). No exception of a backend's library escapes a driver.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "ConcurrentWriteError",
    "ConfigurationError",
    "ContentTooLargeError",
    "DriverStateError",
    "InvalidExpiryError",
    "InvalidOffsetError",
    "InvalidPathError",
    "NotAppendableError",
    "PartialDeleteError",
    "PathNotFoundError",
    "PreconditionFailedError",
    "StorageDriverError",
    "UnsupportedMethodError",
    "WriterStateError",
]


class StorageDriverError(Exception):
    """The root of all errors of a driver.

    Attributes:
        driver_name: the driver that raised it, such as ``"azure"``.
        path: the path that the caller gave, or ``""`` where none is concerned.
    """

    # Subclasses hand all their arguments on by position: unpickling calls ``cls(*args)``.
    def __init__(self, driver_name: str, path: str = "", *args: object) -> None:
        super().__init__(driver_name, path, *args)
        self.driver_name = driver_name
        self.path = path

    def describe(self) -> str:
        """What went wrong, without the driver's name."""
        return f"storage error: {self.path}"

    def __str__(self) -> str:
        return f"{self.driver_name}: {self.describe()}"


class PathNotFoundError(StorageDriverError, LookupError):
    """Neither a blob nor a directory is stored at ``path``."""

    def describe(self) -> str:
        return f"path not found: {self.path}"


class InvalidPathError(StorageDriverError, ValueError):
    """``path`` is not a path of the contract; no request was sent.

    Attributes:
        reason: which rule it breaks.
    """

    def __init__(self, driver_name: str, path: str, reason: str = "") -> None:
        super().__init__(driver_name, path, reason)
        self.reason = reason

    def describe(self) -> str:
        shown = self.path if len(self.path) <= 200 else self.path[:200] + "…"
        return f"invalid path: {shown!r}" + (f": {self.reason}" if self.reason else "")


class InvalidOffsetError(StorageDriverError, ValueError):
    """A reader's offset or length, in bytes, is negative; no request was sent."""

    def __init__(self, driver_name: str, path: str, offset: int, parameter: str = "offset") -> None:
        super().__init__(driver_name, path, offset, parameter)
        self.offset = offset
        self.parameter = parameter

    def describe(self) -> str:
        return f"invalid {self.parameter}: {self.offset} for path: {self.path}"


class InvalidExpiryError(StorageDriverError, ValueError):
    """An URL's expiry is in the past, or a datetime without a time zone.

    Attributes:
        reason: which of them.
    """

    def __init__(self, driver_name: str, path: str, reason: str) -> None:
        super().__init__(driver_name, path, reason)
        self.reason = reason

    def describe(self) -> str:
        return f"invalid expiry: {self.reason}: {self.path}"


class UnsupportedMethodError(StorageDriverError):
    """The driver, or the credential that it was given, cannot do this.

    Attributes:
        method: what was asked for, such as ``"url_for(method='PUT')"``.
        reason: why it is not possible.
    """

    def __init__(self, driver_name: str, path: str, method: str, reason: str = "") -> None:
        super().__init__(driver_name, path, method, reason)
        self.method = method
        self.reason = reason

    def describe(self) -> str:
        return f"unsupported: {self.method}" + (f": {self.reason}" if self.reason else "")


class ContentTooLargeError(StorageDriverError, ValueError):
    """More bytes than the limit; nothing of this call was stored.

    Attributes:
        size: the size in bytes that the blob would have had.
        limit: the largest size in bytes.
    """

    def __init__(self, driver_name: str, path: str, size: int, limit: int) -> None:
        super().__init__(driver_name, path, size, limit)
        self.size = size
        self.limit = limit

    def describe(self) -> str:
        return f"content too large: {self.size} bytes, the limit is {self.limit}: {self.path}"


class PreconditionFailedError(StorageDriverError):
    """``if_match`` or ``if_absent`` did not hold; nothing was changed.

    Attributes:
        condition: the condition that failed.
    """

    def __init__(self, driver_name: str, path: str, condition: str) -> None:
        super().__init__(driver_name, path, condition)
        self.condition = condition

    def describe(self) -> str:
        return f"precondition failed ({self.condition}): {self.path}"


class ConcurrentWriteError(StorageDriverError):
    """Someone else writes the same blob: another writer's bytes were found, or it was
    overwritten while it was read or moved.

    Attributes:
        reason: what was found.
    """

    def __init__(self, driver_name: str, path: str, reason: str = "") -> None:
        super().__init__(driver_name, path, reason)
        self.reason = reason

    def describe(self) -> str:
        return f"concurrent write: {self.path}" + (f": {self.reason}" if self.reason else "")


class NotAppendableError(StorageDriverError):
    """A writer cannot resume here: the blob is not a stream that a writer began.

    Attributes:
        blob_type: the type that stands in the way.
    """

    def __init__(self, driver_name: str, path: str, blob_type: str) -> None:
        super().__init__(driver_name, path, blob_type)
        self.blob_type = blob_type

    def describe(self) -> str:
        return f"cannot append to a {self.blob_type} that is not empty: {self.path}"


class WriterStateError(StorageDriverError, RuntimeError):
    """The writer was closed, committed or cancelled before this call.

    Attributes:
        state: ``"already closed"``, ``"already committed"`` or ``"already cancelled"``.
    """

    def __init__(self, driver_name: str, path: str, state: str) -> None:
        super().__init__(driver_name, path, state)
        self.state = state

    def describe(self) -> str:
        return f"writer {self.state}: {self.path}"


class DriverStateError(StorageDriverError, RuntimeError):
    """The driver is not open, is closed already, or belongs to another event loop."""

    def __init__(self, driver_name: str, path: str, state: str) -> None:
        super().__init__(driver_name, path, state)
        self.state = state

    def describe(self) -> str:
        return f"driver {self.state}"


class ConfigurationError(StorageDriverError, ValueError):
    """A parameter is missing, unknown, contradictory or out of range.

    Attributes:
        parameter: its name, as the caller writes it.
        reason: what is wrong. Never contains the value of a secret.
    """

    def __init__(self, driver_name: str, parameter: str, reason: str) -> None:
        super().__init__(driver_name, parameter, reason)
        self.path = ""
        self.parameter = parameter
        self.reason = reason

    def describe(self) -> str:
        return f"parameter {self.parameter}: {self.reason}"


class PartialDeleteError(StorageDriverError):
    """Some of a tree could not be deleted; calling ``delete`` again finishes.

    Attributes:
        left: the paths that are left, with the backend's error code of each.
    """

    def __init__(self, driver_name: str, path: str, left: tuple[tuple[str, str], ...]) -> None:
        super().__init__(driver_name, path, left)
        self.left = left

    def describe(self) -> str:
        shown = ", ".join(f"{path} ({code})" for path, code in self.left[:5])
        more = f" and {len(self.left) - 5} more" if len(self.left) > 5 else ""
        return f"delete left {len(self.left)} blobs below {self.path}: {shown}{more}"


class BackendError(StorageDriverError):
    """The backend answered otherwise than the contract foresees, or not at all.

    Attributes:
        operation: the operation of the contract, such as ``"put_content"``.
        status: the HTTP status; None when no answer was received.
        error_code: the service's error code, such as ``"LeaseIdMissing"``.
        request_id: the service's ``x-ms-request-id``, for a support request.
        reason: a short text; never an URL, since its query may hold a signature.
    """

    def __init__(
        self,
        driver_name: str,
        path: str,
        operation: str,
        status: int | None = None,
        error_code: str | None = None,
        request_id: str | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(driver_name, path, operation, status, error_code, request_id, reason)
        self.operation = operation
        self.status = status
        self.error_code = error_code
        self.request_id = request_id
        self.reason = reason

    def describe(self) -> str:
        answer = " ".join(str(part) for part in (self.status, self.error_code) if part is not None)
        parts = [f"{self.operation} failed: {answer or 'no answer'}"]
        if self.reason:
            parts.append(self.reason)
        if self.path:
            parts.append(f"path: {self.path}")
        if self.request_id:
            parts.append(f"request id: {self.request_id}")
        return "; ".join(parts)
