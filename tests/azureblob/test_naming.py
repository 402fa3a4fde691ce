"""Paths to blob names and back, in both layouts, within the service's limits."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from azdriver.azureblob.naming import MAX_NAME_CHARACTERS, MAX_NAME_SEGMENTS, BlobNames
from azdriver.errors import InvalidPathError
from azdriver.paths import ROOT, StoragePath

LAYOUTS = [
    BlobNames("azure"),
    BlobNames("azure", "root"),
    BlobNames("azure", "/a/root/"),
    BlobNames("azure", legacy_root=True),
    BlobNames("azure", "root", legacy_root=True),
    BlobNames("azure", "/a/root/", legacy_root=True),
]
BASES = ["", "root/", "a/root/", "/", "/root/", "/a/root/"]
WITH_BASES = list(zip(LAYOUTS, BASES, strict=True))

_letters = string.ascii_letters + string.digits + "._-"
_segments = st.text(_letters, min_size=1, max_size=8).filter(lambda s: s not in (".", ".."))
_paths = st.lists(_segments, min_size=1, max_size=6).map(lambda s: "/" + "/".join(s))
_layouts = st.sampled_from(WITH_BASES)


@pytest.mark.parametrize(("names", "base"), WITH_BASES, ids=BASES)
def test_a_layout_puts_its_base_before_every_path(names: BlobNames, base: str) -> None:
    path = names.parse("/v2/some.repo/_layers")
    assert names.of(path) == f"{base}v2/some.repo/_layers"
    assert names.prefix(path) == f"{base}v2/some.repo/_layers/"
    assert names.prefix(ROOT) == base
    assert names.parse("/", root=True) == ROOT


def test_the_two_layouts_of_one_path() -> None:
    path = StoragePath("/a/b")
    assert BlobNames("azure").of(path) == "a/b"
    assert BlobNames("azure", legacy_root=True).of(path) == "/a/b"


@settings(max_examples=500, deadline=None)
@given(_layouts, _paths)
def test_a_name_leads_back_to_its_path(layout: tuple[BlobNames, str], path: str) -> None:
    names, base = layout
    parsed = names.parse(path)
    name = names.of(parsed)
    assert name == base + path[1:]
    assert names.path_of(name) == parsed
    assert name.startswith(names.prefix(ROOT))


@settings(max_examples=1000, deadline=None)
@given(
    _layouts,
    st.text(st.sampled_from("/ar.oot\\%\n é"), max_size=14)
    | st.text(max_size=20)
    | st.tuples(st.sampled_from(BASES), st.text(st.sampled_from("/a."), max_size=8)).map("".join),
)
@example((LAYOUTS[0], ""), "/a")
@example((LAYOUTS[3], "/"), "//a")
@example((LAYOUTS[1], "root/"), "root/../a")
def test_a_name_that_has_a_path_is_the_name_of_that_path(
    layout: tuple[BlobNames, str], name: str
) -> None:
    """Otherwise what a listing returned would lead an operation to another blob."""
    names, base = layout
    path = names.path_of(name)
    if path is not None:
        assert names.of(names.parse(path)) == name
    else:
        rest = name.removeprefix(base)
        segments = rest.split("/")
        is_plain = all(set(s) <= set(_letters) and s not in ("", ".", "..") for s in segments)
        assert not (name.startswith(base) and is_plain)


@settings(max_examples=300, deadline=None)
@given(_paths)
def test_layouts_side_by_side_have_no_name_in_common(path: str) -> None:
    default, legacy = BlobNames("azure"), BlobNames("azure", legacy_root=True)
    assert legacy.path_of(default.of(default.parse(path))) is None
    assert default.path_of(legacy.of(legacy.parse(path))) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "a/./b",
        "a/../b",
        ".",
        "..",
        "a b",
        "a\n",
        "a\\b",
        "é",
        "a%2Fb",
        "x" * 1024,  # with its slash a path of 1,025 characters
    ],
)
def test_a_name_that_is_no_path(name: str) -> None:
    assert BlobNames("azure").path_of(name) is None
    assert BlobNames("azure", "root").path_of(f"root/{name}") is None
    assert BlobNames("azure", legacy_root=True).path_of(f"/{name}") is None


@pytest.mark.parametrize("name", ["a/b", "roots/a", "root", "root/", "/root/a", "Root/a"])
def test_a_name_outside_of_the_root_directory_has_no_path(name: str) -> None:
    assert BlobNames("azure", "root").path_of(name) is None


@pytest.mark.parametrize(("names", "base"), WITH_BASES, ids=BASES)
def test_the_limit_is_that_of_the_blob_name(names: BlobNames, base: str) -> None:
    """The path's own limit of 1,024 characters, its slash included, is the narrower one without
    a root directory."""
    longest = min(MAX_NAME_CHARACTERS - len(base), 1023)
    path = names.parse("/" + "a" * longest)
    assert len(names.of(path)) == min(MAX_NAME_CHARACTERS, len(base) + 1023)
    with pytest.raises(InvalidPathError, match=r"the limit is 1024") as caught:
        names.parse("/" + "a" * (longest + 1))
    assert caught.value.driver_name == "azure"


@pytest.mark.parametrize(("names", "base"), WITH_BASES, ids=BASES)
def test_the_segments_are_limited(names: BlobNames, base: str) -> None:
    most = MAX_NAME_SEGMENTS - base.count("/")
    assert names.of(names.parse("/a" * most)).count("/") == MAX_NAME_SEGMENTS - 1
    with pytest.raises(InvalidPathError, match="more than 254 segments"):
        names.parse("/a" * (most + 1))


def test_what_is_no_path_is_refused_in_every_layout() -> None:
    for names in LAYOUTS:
        for path in ("", "a", "/", "//a", "/a/", "/a/../b", "/a\n"):
            with pytest.raises(InvalidPathError):
                names.parse(path)
