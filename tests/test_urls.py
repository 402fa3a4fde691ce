"""Drivers by URL."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azdriver import ConfigurationError, DriverUrl, MemoryDriver, StorageDriver, from_url, register
from azdriver import factory as factory_module
from azdriver.urls import parse_url

SECRET = "c2VjcmV0LXNlY3JldA"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(factory_module, "_registered", {})
    monkeypatch.setattr(factory_module, "_registered_by_url", {})


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("memory:", DriverUrl("memory")),
        ("MEMORY://", DriverUrl("memory")),
        ("a://Host/x/y/", DriverUrl("a", "Host", "x/y/")),
        ("a:///x?b=c&D=e&&f=", DriverUrl("a", "", "x", {"b": "c", "d": "e", "f": ""})),
        ("a://h%41/%78%2Fy", DriverUrl("a", "hA", "x/y")),
        # As it stands in the portal, or encoded: a key is the same.
        ("a:?k=a+b/c==", DriverUrl("a", "", "", {"k": "a+b/c=="})),
        ("a:?k=a%2Bb%2Fc%3D%3D", DriverUrl("a", "", "", {"k": "a+b/c=="})),
        ("a:?k=%C3%A9%26%3D%23", DriverUrl("a", "", "", {"k": "é&=#"})),
        ("a:?k=?/x:y@z", DriverUrl("a", "", "", {"k": "?/x:y@z"})),
    ],
)
def test_its_parts_are_decoded(url: str, parts: DriverUrl) -> None:
    parsed = parse_url(url)
    assert parsed == parts
    assert parsed.parameters == parts.parameters


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("", "is no URL"),
        ("memory", "is no URL"),
        ("/tmp/x", "is no URL"),
        (f"AccountName=a;AccountKey={SECRET}==", "is no URL"),
        (f"{SECRET * 10}:", "is no URL"),
        (f"a://h/c#{SECRET}", "has a '#'"),
        (f"a://user:{SECRET}@h/c", "has a user"),
        (f"a://h/{SECRET}%", "has a '%' in its path"),
        (f"a://h/c?k={SECRET}%zz", "has a '%' in k"),
        (f"a://h/c?k={SECRET}%ff", "has bytes in k that are no UTF-8"),
        (f"a://h/c?k={SECRET}\n", "has a character that is to be percent-encoded"),
        (f"a://h/c?k={SECRET} x", "has a character that is to be percent-encoded"),
        (f"a://h/c?k={SECRET}é", "has a character that is to be percent-encoded"),
        (f"a://h/c?{SECRET}", "has a query that is not of NAME=VALUE"),
        (f"a://h/c?={SECRET}", "has a query that is not of NAME=VALUE"),
        (f"a://h/c?x%3D{SECRET}=", "has a query that is not of NAME=VALUE"),
        (f"a://h/c?k={SECRET}&K=x", "parameter k: is given twice"),
    ],
)
def test_what_is_wrong_is_told_without_a_value(url: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as caught:
        parse_url(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is to be a text, not bytes"):
        parse_url(b"memory:")  # type: ignore[arg-type]


def test_no_parameter_is_in_the_repr() -> None:
    assert SECRET not in repr(parse_url(f"a:?k={SECRET}"))


@settings(max_examples=500, deadline=None)
@given(st.text() | st.text(alphabet="a:/?#&=%+@ é\n", max_size=30).map("azure:".__add__))
def test_any_text_is_an_url_or_a_typed_error(text: str) -> None:
    with suppress(ConfigurationError):
        parse_url(text)


async def test_memory() -> None:
    async with from_url("memory:?maxcontentbytes=3") as driver:
        assert isinstance(driver, MemoryDriver)
        await driver.put_content("/a", b"123")
        with pytest.raises(ValueError, match="too large"):
            await driver.put_content("/a", b"1234")


@pytest.mark.parametrize("url", ["memory://host", "memory:/path", "memory:path"])
def test_memory_has_no_place(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is to be 'memory:', with nothing but a query"):
        from_url(url)


@pytest.mark.parametrize("url", ["filesystem:/tmp", "https://account.blob.core.windows.net/c"])
def test_an_unknown_scheme_is_told_what_there_is(url: str) -> None:
    register("mine", lambda parameters: MemoryDriver())
    with pytest.raises(
        ConfigurationError, match="no such driver; there are: azure, memory, mine"
    ) as told:
        from_url(url)
    assert ("azure://ACCOUNT/CONTAINER" in str(told.value)) == url.startswith("https:")


def test_a_registered_driver_gets_the_query() -> None:
    seen: list[Mapping[str, str]] = []

    def make(parameters: Mapping[str, str]) -> StorageDriver:
        seen.append(parameters)
        return MemoryDriver()

    register("mine", make)
    from_url("mine:?a=b")
    assert seen == [{"a": "b"}]
    with pytest.raises(ConfigurationError, match="is to be 'mine:'"):
        from_url("mine://host/path")


def test_a_registered_driver_may_read_the_place_itself() -> None:
    seen: list[tuple[DriverUrl, Mapping[str, str]]] = []

    def by_url(url: DriverUrl, /, *, environ: Mapping[str, str]) -> StorageDriver:
        seen.append((url, environ))
        return MemoryDriver()

    register("mine", lambda parameters: MemoryDriver(), by_url)
    from_url("mine://host/some/path?a=b", environ={"HOME": "/"})
    assert seen == [(DriverUrl("mine", "host", "some/path", {"a": "b"}), {"HOME": "/"})]


def test_so_may_one_that_is_found_by_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "thirdparty_urls-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty-urls\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[azdriver.drivers]\n"
        "placed = thirdparty_urls_for_tests:Driver.from_parameters\n"
        "plain = thirdparty_urls_for_tests:Driver.from_parameters\n"
        "[azdriver.urls]\n"
        "placed = thirdparty_urls_for_tests:from_url\n"
        "memory = thirdparty_urls_for_tests:missing\n"
    )
    (tmp_path / "thirdparty_urls_for_tests.py").write_text(
        "from azdriver import MemoryDriver\n\n\n"
        "class Driver(MemoryDriver):\n    place = None\n\n\n"
        "def from_url(url, *, environ):\n"
        "    driver = Driver()\n    driver.place = url.host, url.path\n    return driver\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert getattr(from_url("placed://host/path"), "place", None) == ("host", "path")
    assert getattr(from_url("plain:"), "place", "no attribute") is None
    assert type(from_url("memory:")) is MemoryDriver
    with pytest.raises(ConfigurationError, match="is to be 'plain:'"):
        from_url("plain://host")
