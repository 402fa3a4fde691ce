"""What must not happen: a request for a path that is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from azdriver import AzureBlobDriver, InvalidPathError
from azdriver.testing.recording import RecordedRequest
from bad_paths import invalid_paths
from contract_calls import OPERATIONS


def test_every_public_operation_is_among_them() -> None:
    operations = {name.partition(",")[0] for name in OPERATIONS}
    public = {name for name in dir(AzureBlobDriver) if not name.startswith("_")}
    makers = {name for name in public if name.startswith("from_")}
    life = {"aclose", "name", "open", "options"}
    assert public - makers - life - {"stats"} == operations


@settings(
    max_examples=1200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(invalid_paths())
@example("")
@example(".")
@example("..")
@example("/..")
@example("/a/../../bait/secret")
@example("/a\n")
@example("/%2e%2e/bait/secret")
@example("/..%2fbait%2fsecret")
@example("/..\\bait\\secret")
@example("/" + "a" * 1024)
@example("/a" * 255)
@example("/\ud800")
async def test_an_invalid_path_is_refused_by_every_operation_with_no_request(
    driver: AzureBlobDriver, requests: list[RecordedRequest], path: str
) -> None:
    for name, operation in OPERATIONS.items():
        with pytest.raises(InvalidPathError) as caught:
            await operation(driver, path)
        assert caught.value.path == path, name
        assert str(caught.value).startswith("azure: invalid path: ")
    assert requests == []


@pytest.mark.parametrize("path", [None, b"/a", 5, ["/a"]], ids=repr)
async def test_what_is_not_text_is_refused_with_no_request(
    driver: AzureBlobDriver, requests: list[RecordedRequest], path: Any
) -> None:
    for name, operation in OPERATIONS.items():
        if (name, path) == ("walk, start_after", None):
            continue  # that is its default
        with pytest.raises(InvalidPathError):
            await operation(driver, path)
    assert requests == []
