"""The failures of the SDK as errors of the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from azure.core.exceptions import AzureError, DecodeError, HttpResponseError

from azdriver.azureblob.options import DRIVER_NAME
from azdriver.errors import BackendError, PathNotFoundError, StorageDriverError

__all__ = [
    "BLOB_IS_MISSING",
    "backend_error",
    "checked_etag",
    "error_code",
    "is_missing",
    "quoted",
    "status_of",
    "translated",
]

# Quoted, or bare as in listings: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3
_CODE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_ETAG: Final = re.compile(r'(?:W/)?"[!#-~]+"|[!#-~]+')

_OURS: Final = "azdriver"
_LIBRARIES: Final = frozenset({"azure", "aiohttp"})
# What parsing raises; others (an OSError, a closed session) say nothing about the answer.
_MALFORMED: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

# Other 404s (ContainerNotFound, a wrong endpoint) are no statement about the path.
BLOB_IS_MISSING: Final = frozenset({"BlobNotFound", "ResourceNotFound", "CannotVerifyCopySource"})


def status_of(error: AzureError) -> int | None:
    """The HTTP status of the answer; None if there was none."""
    return error.status_code if isinstance(error, HttpResponseError) else None


def error_code(error: AzureError) -> str:
    """The service's error code, such as ``BlobNotFound``; ``""`` if it gave none.

    Answers to HEAD have no body: their code is in a header. The SDK's attribute is an enum or
    a text, by the call.
    """
    code = getattr(error, "error_code", None)
    text = str(getattr(code, "value", code)) if code else _header(error, "x-ms-error-code")
    return text if _CODE.fullmatch(text) else ""


def _header(error: AzureError, name: str) -> str:
    response = getattr(error, "response", None)
    return (response.headers.get(name) or "") if response is not None else ""


def is_missing(error: AzureError) -> bool:
    """Whether the blob, not the container, is what was not found."""
    return status_of(error) == 404 and error_code(error) in BLOB_IS_MISSING


def backend_error(error: AzureError, path: str, operation: str) -> StorageDriverError:
    """The contract's error for a failure that the operation does not know better."""
    if is_missing(error):
        return PathNotFoundError(DRIVER_NAME, path)
    status = status_of(error)
    # The SDK's message of an answer repeats the body. That of a lost one is ours (session.py);
    # where it is the SDK's after all it may hold the URL, whose query may be a signature.
    reason = "" if status is not None else (error.message or "")
    if status is None and (not reason or "://" in reason):
        reason = type(error).__name__
    return BackendError(
        DRIVER_NAME,
        path,
        operation,
        status,
        error_code(error) or None,
        _header(error, "x-ms-request-id")[:100] or None,
        reason.splitlines()[0][:200] if reason else "",
    )


def checked_etag(etag: object) -> str:
    """The ETag of an answer.

    Raises:
        DecodeError: there is none, or none that a header can carry.
    """
    if not isinstance(etag, str) or not _ETAG.fullmatch(etag):
        raise DecodeError("malformed answer: no ETag")
    return etag


def quoted(etag: object) -> str:
    """An ETag as HTTP has it: the service leaves the quotes out in listings.

    Raises:
        DecodeError: as :func:`checked_etag`.
    """
    return f'"{checked_etag(etag).strip(chr(34))}"'


def _is_from_libraries(error: Exception) -> bool:
    """Whether the SDK or aiohttp raised it, and not code of ours, which they may have called."""
    innermost = ""
    traceback = error.__traceback__
    while traceback is not None:
        package = str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == _OURS or package in _LIBRARIES:
            innermost = package
        traceback = traceback.tb_next
    return innermost in _LIBRARIES


def _unforeseen_error(error: Exception, path: str, operation: str) -> BackendError:
    """For an answer that the SDK could not read, where it raises whatever its parsers raise."""
    kind = type(error).__name__
    reason = f"malformed answer: {kind}" if isinstance(error, _MALFORMED) else kind
    # An error's own answer that could not be read: its status still says something.
    answer = error.__context__
    while answer is not None and not isinstance(answer, HttpResponseError):
        answer = answer.__context__
    if not isinstance(answer, HttpResponseError):
        return BackendError(DRIVER_NAME, path, operation, reason=reason)
    request_id = _header(answer, "x-ms-request-id")[:100] or None
    code = error_code(answer) or None
    return BackendError(DRIVER_NAME, path, operation, answer.status_code, code, request_id, reason)


@contextmanager
def translated(path: str, operation: str) -> Iterator[None]:
    """Let no exception of the SDK out of the block; it stays as the ``__cause__``.

    On an answer that is malformed the SDK raises ``ValueError``, ``KeyError``, ``TypeError`` and
    others, which are ``BackendError`` as well. What code of ours raises is a defect, and passes.
    """
    try:
        yield
    except AzureError as error:
        raise backend_error(error, path, operation) from error
    except Exception as error:
        if isinstance(error, StorageDriverError | MemoryError) or not _is_from_libraries(error):
            raise
        raise _unforeseen_error(error, path, operation) from error
