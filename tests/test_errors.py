"""The errors: their messages, their attributes, and their way through a pickle."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from azdriver import errors
from azdriver.errors import StorageDriverError

# One example of each: the arguments, the message, and the attributes besides the common two.
EXAMPLES: list[tuple[StorageDriverError, str, dict[str, Any]]] = [
    (errors.StorageDriverError("azure", "/a"), "azure: storage error: /a", {}),
    (errors.PathNotFoundError("azure", "/a/b"), "azure: path not found: /a/b", {}),
    (
        errors.InvalidPathError("azure", "a b", "no blanks"),
        "azure: invalid path: 'a b': no blanks",
        {"reason": "no blanks"},
    ),
    (errors.InvalidPathError("azure", "a\n"), "azure: invalid path: 'a\\n'", {"reason": ""}),
    (
        errors.InvalidOffsetError("azure", "/a", -1),
        "azure: invalid offset: -1 for path: /a",
        {"offset": -1, "parameter": "offset"},
    ),
    (
        errors.InvalidOffsetError("azure", "/a", -2, "length"),
        "azure: invalid length: -2 for path: /a",
        {"offset": -2, "parameter": "length"},
    ),
    (
        errors.InvalidExpiryError("azure", "/a", "in the past"),
        "azure: invalid expiry: in the past: /a",
        {"reason": "in the past"},
    ),
    (
        errors.UnsupportedMethodError("azure", "/a", "url_for(method='PUT')"),
        "azure: unsupported: url_for(method='PUT')",
        {"method": "url_for(method='PUT')", "reason": ""},
    ),
    (
        errors.UnsupportedMethodError("azure", "/a", "url_for", "cannot sign"),
        "azure: unsupported: url_for: cannot sign",
        {"method": "url_for", "reason": "cannot sign"},
    ),
    (
        errors.ContentTooLargeError("azure", "/a", 11, 10),
        "azure: content too large: 11 bytes, the limit is 10: /a",
        {"size": 11, "limit": 10},
    ),
    (
        errors.PreconditionFailedError("azure", "/a", "if_match"),
        "azure: precondition failed (if_match): /a",
        {"condition": "if_match"},
    ),
    (errors.ConcurrentWriteError("azure", "/a"), "azure: concurrent write: /a", {"reason": ""}),
    (
        errors.ConcurrentWriteError("azure", "/a", "two writers"),
        "azure: concurrent write: /a: two writers",
        {"reason": "two writers"},
    ),
    (
        errors.NotAppendableError("azure", "/a", "BlockBlob"),
        "azure: cannot append to a BlockBlob that is not empty: /a",
        {"blob_type": "BlockBlob"},
    ),
    (
        errors.WriterStateError("azure", "/a", "already closed"),
        "azure: writer already closed: /a",
        {"state": "already closed"},
    ),
    (
        errors.DriverStateError("azure", "", "is closed"),
        "azure: driver is closed",
        {"state": "is closed"},
    ),
    (
        errors.ConfigurationError("azure", "accountkey", "is missing"),
        "azure: parameter accountkey: is missing",
        {"parameter": "accountkey", "reason": "is missing"},
    ),
    (
        errors.PartialDeleteError("azure", "/a", (("/a/b", "LeaseIdMissing"),)),
        "azure: delete left 1 blobs below /a: /a/b (LeaseIdMissing)",
        {"left": (("/a/b", "LeaseIdMissing"),)},
    ),
    (
        errors.PartialDeleteError("azure", "/a", tuple((f"/a/{i}", "E") for i in range(7))),
        "azure: delete left 7 blobs below /a: "
        "/a/0 (E), /a/1 (E), /a/2 (E), /a/3 (E), /a/4 (E) and 2 more",
        {},
    ),
    (
        errors.BackendError("azure", "/a", "stat", 500, "InternalError", "id-1", "odd"),
        "azure: stat failed: 500 InternalError; odd; path: /a; request id: id-1",
        {
            "operation": "stat",
            "status": 500,
            "error_code": "InternalError",
            "request_id": "id-1",
            "reason": "odd",
        },
    ),
    (
        errors.BackendError("azure", "", "open"),
        "azure: open failed: no answer",
        {"status": None, "error_code": None, "request_id": None},
    ),
]

_by_class = pytest.mark.parametrize(
    ("error", "message", "attributes"),
    EXAMPLES,
    ids=[f"{type(error).__name__}-{i}" for i, (error, _, _) in enumerate(EXAMPLES)],
)


def test_every_error_has_an_example() -> None:
    classes = {getattr(errors, name) for name in errors.__all__}
    assert {type(error) for error, _, _ in EXAMPLES} == classes
    for error_class in classes:
        assert issubclass(error_class, StorageDriverError)
        assert error_class.__doc__


@_by_class
def test_message_starts_with_the_drivers_name(
    error: StorageDriverError, message: str, attributes: dict[str, Any]
) -> None:
    assert str(error) == message
    assert message.startswith("azure: ")


@_by_class
def test_attributes(error: StorageDriverError, message: str, attributes: dict[str, Any]) -> None:
    assert error.driver_name == "azure"
    for name, value in attributes.items():
        assert getattr(error, name) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@_by_class
def test_pickle_keeps_everything(
    error: StorageDriverError, message: str, attributes: dict[str, Any], protocol: int
) -> None:
    for other in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == message
        assert other.args == error.args
        assert vars(other) == vars(error)


def test_a_cause_is_kept() -> None:
    cause = OSError("reset")
    with pytest.raises(errors.BackendError) as caught:
        raise errors.BackendError("azure", "/a", "stat") from cause
    assert caught.value.__cause__ is cause


def test_a_long_path_is_cut_in_the_message() -> None:
    error = errors.InvalidPathError("azure", "/" + "a" * 5000)
    assert len(str(error)) < 300
    assert len(error.path) == 5001


@pytest.mark.parametrize(
    ("error_class", "built_in"),
    [
        (errors.PathNotFoundError, LookupError),
        (errors.InvalidPathError, ValueError),
        (errors.InvalidOffsetError, ValueError),
        (errors.ConfigurationError, ValueError),
        (errors.WriterStateError, RuntimeError),
        (errors.DriverStateError, RuntimeError),
    ],
)
def test_errors_are_what_python_has_for_them(
    error_class: type[StorageDriverError], built_in: type[Exception]
) -> None:
    assert issubclass(error_class, built_in)
