"""The SDK's failures as errors of the contract: which, with what, and without which secrets."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.rest import HttpRequest
from azure.storage.blob import StorageErrorCode

from azdriver import AzureBlobDriver, BackendError, PathNotFoundError, StorageDriverError
from azdriver.azureblob import RetrySettings
from azdriver.azureblob.retry import NotSentError
from azdriver.azureblob.translate import (
    backend_error,
    error_code,
    is_missing,
    status_of,
    translated,
)
from azdriver.errors import ConcurrentWriteError
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import CannedResponse, Faults, answer

URL = "http://127.0.0.1/account/container/blob?sv=1&sig=c2VjcmV0"


def answered(
    status: int,
    code: str = "",
    *,
    method: str = "GET",
    error_class: type[HttpResponseError] = HttpResponseError,
    attribute: object = None,
) -> HttpResponseError:
    """As the SDK raises it; the code is in a header, and by the call in an attribute too."""
    response = CannedResponse(HttpRequest(method, URL), status, code)
    error = error_class(message=f"from {URL}", response=response)
    if attribute is not None:
        error.error_code = attribute  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "status", "code", "missing"),
    [
        (answered(404, "BlobNotFound"), 404, "BlobNotFound", True),
        (answered(404, "BlobNotFound", method="HEAD"), 404, "BlobNotFound", True),
        (answered(404, "ResourceNotFound"), 404, "ResourceNotFound", True),
        (answered(404, "CannotVerifyCopySource"), 404, "CannotVerifyCopySource", True),
        (answered(404, "ContainerNotFound"), 404, "ContainerNotFound", False),
        (answered(404), 404, "", False),
        (answered(409, "BlobNotFound"), 409, "BlobNotFound", False),
        (
            answered(404, attribute=StorageErrorCode.BLOB_NOT_FOUND),
            404,
            "BlobNotFound",
            True,
        ),
        (
            answered(404, attribute="BlobNotFound", error_class=ResourceNotFoundError),
            404,
            "BlobNotFound",
            True,
        ),
        (answered(403, "AuthorizationFailure"), 403, "AuthorizationFailure", False),
        (answered(409, "LeaseIdMissing"), 409, "LeaseIdMissing", False),
        (answered(500, "InternalError"), 500, "InternalError", False),
        (HttpResponseError("nothing more"), None, "", False),
        (ServiceResponseError("lost"), None, "", False),
        (AzureError("what?"), None, "", False),
    ],
)
def test_what_an_answer_says(
    error: AzureError, status: int | None, code: str, missing: bool
) -> None:
    assert status_of(error) == status
    assert error_code(error) == code
    assert is_missing(error) is missing
    translation = backend_error(error, "/a", "stat")
    if missing:
        assert type(translation) is PathNotFoundError
        assert str(translation) == "azure: path not found: /a"
    else:
        assert isinstance(translation, BackendError)
        assert translation.status == status
        assert translation.error_code == (code or None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            answered(403, "AuthenticationFailed", error_class=ClientAuthenticationError),
            "azure: stat failed: 403 AuthenticationFailed; path: /a; request id: injected",
        ),
        (
            answered(409, "SnapshotsPresent", error_class=ResourceExistsError),
            "azure: stat failed: 409 SnapshotsPresent; path: /a; request id: injected",
        ),
        (answered(500), "azure: stat failed: 500; path: /a; request id: injected"),
        (
            NotSentError("no connection to 127.0.0.1:1"),
            "azure: stat failed: no answer; no connection to 127.0.0.1:1; path: /a",
        ),
        (
            ServiceResponseTimeoutError("no answer within 30.0 s"),
            "azure: stat failed: no answer; no answer within 30.0 s; path: /a",
        ),
        (
            ServiceRequestError(f"cannot connect to {URL}"),
            "azure: stat failed: no answer; ServiceRequestError; path: /a",
        ),
        (
            IncompleteReadError("5 bytes of the body are missing"),
            "azure: stat failed: no answer; 5 bytes of the body are missing; path: /a",
        ),
        (
            ServiceResponseError("first line\nsecond line"),
            "azure: stat failed: no answer; first line; path: /a",
        ),
    ],
)
def test_messages_are_short_and_hold_no_url(error: AzureError, message: str) -> None:
    translation = backend_error(error, "/a", "stat")
    assert str(translation) == message
    assert "sig" not in repr(translation)
    assert "://" not in repr(translation)


def test_a_reason_is_cut() -> None:
    assert len(str(backend_error(ServiceResponseError("x" * 5000), "/a", "stat"))) < 300


@pytest.mark.parametrize(
    "error",
    [
        answered(404, "BlobNotFound"),
        answered(403, "AuthenticationFailed"),
        ServiceResponseError("lost"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_sdks_exception_is_the_cause_and_the_rest_survives_pickling(
    error: AzureError,
) -> None:
    with pytest.raises(StorageDriverError) as caught:
        with translated("/a", "get_content"):
            raise error
    assert caught.value.__cause__ is error
    other = pickle.loads(pickle.dumps(caught.value))
    assert type(other) is type(caught.value)
    assert str(other) == str(caught.value)
    assert vars(other) == vars(caught.value)


@pytest.mark.parametrize(
    "error", [ConcurrentWriteError("azure", "/a"), ValueError("ours"), KeyboardInterrupt()]
)
def test_what_is_not_the_sdks_goes_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        with translated("/a", "stat"):
            raise error
    assert caught.value is error


async def _read(driver: AzureBlobDriver) -> None:
    async with driver.reader("/blob") as reader:
        await reader.read()


async def _write(driver: AzureBlobDriver, *, append: bool = False) -> None:
    async with driver.writer("/blob", append=append) as writer:
        await writer.write(b"x")


async def _walk(driver: AzureBlobDriver) -> None:
    async for _ in driver.walk("/"):
        pass


CALLS: dict[str, Callable[[AzureBlobDriver], Awaitable[Any]]] = {
    "get_content": lambda driver: driver.get_content("/blob"),
    "put_content": lambda driver: driver.put_content("/blob", b"x"),
    "reader": _read,
    "writer": _write,
    "writer, append": lambda driver: _write(driver, append=True),
    "stat": lambda driver: driver.stat("/blob"),
    "stat of the root": lambda driver: driver.stat("/"),
    "list": lambda driver: driver.list("/"),
    "walk": _walk,
    "move": lambda driver: driver.move("/blob", "/other"),
    "delete": lambda driver: driver.delete("/blob"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidHeaderValue"),
        (403, "AuthorizationPermissionMismatch"),
        (404, "ContainerNotFound"),
        (409, "ContainerBeingDeleted"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServerBusy"),
        (503, ""),
        (418, "Whatever"),
    ],
)
async def test_no_exception_of_the_sdk_escapes_an_operation(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    call: str,
    status: int,
    code: str,
) -> None:
    await driver.put_content("/blob", b"")
    faults = Faults()
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        retry=RetrySettings(retries=1, first_delay_seconds=0.001),
        wrap_transport=faults.wrap,
    ) as hurt:
        faults.add(answer(status, code, times=None))
        with pytest.raises(BackendError) as caught:
            await CALLS[call](hurt)
    error = caught.value
    assert (error.status, error.error_code) == (status, code or None)
    assert error.request_id == "injected"
    assert error.operation == call.partition(",")[0].partition(" ")[0]
    assert isinstance(error.__cause__, AzureError)
    assert str(error).startswith(f"azure: {error.operation} failed: {status}")
    assert pickle.loads(pickle.dumps(error)).args == error.args
