"""The grammar of paths."""

from __future__ import annotations

import pickle
import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from azdriver.errors import InvalidPathError
from azdriver.paths import MAX_PATH_CHARACTERS, ROOT, is_path, parse_path

_LETTERS = string.ascii_letters + string.digits + "._-"
_valid_segments = st.text(_LETTERS, min_size=1, max_size=12).filter(lambda s: s not in (".", ".."))
_valid = st.lists(_valid_segments, min_size=1, max_size=8).map(lambda s: "/" + "/".join(s))

# Most of them one character away from a letter, a dot, a slash or a hyphen.
_lookalikes = st.sampled_from(
    [
        *"\n\r\t\0 %\\:?#+~*@;,'\"&=é",
        "\N{CYRILLIC SMALL LETTER A}",
        "\N{FULLWIDTH LATIN SMALL LETTER A}",
        "\N{LATIN SMALL LETTER DOTLESS I}",
        "\N{KELVIN SIGN}",
        "\N{LATIN SMALL LETTER LONG S}",
        "\N{FULLWIDTH SOLIDUS}",
        "\N{DIVISION SLASH}",
        "\N{FRACTION SLASH}",
        "\N{FULLWIDTH FULL STOP}",
        "\N{ONE DOT LEADER}",
        "\N{HORIZONTAL ELLIPSIS}",
        "\N{HYPHEN}",
        "\N{EN DASH}",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "\N{SUPERSCRIPT TWO}",
        "\N{ZERO WIDTH SPACE}",
        "\N{RIGHT-TO-LEFT OVERRIDE}",
        "\N{COMBINING ACUTE ACCENT}",
        "\N{LINE SEPARATOR}",
        "\N{NEXT LINE}",
        "\ud800",
    ]
)


@st.composite
def _invalid(draw: st.DrawFn) -> str:
    """A valid path, with one rule broken somewhere."""
    path = draw(_valid)
    cut = draw(st.integers(0, len(path)))
    dots = draw(st.sampled_from([".", ".."]))
    slash = draw(st.sampled_from([i for i, c in enumerate(path) if c == "/"] + [len(path)]))
    broken: str = draw(
        st.sampled_from(
            [
                path[:cut] + draw(_lookalikes) + path[cut:],
                path + "\n",
                path + "/",
                path[1:],
                path[:slash] + "/" + dots + path[slash:],
                path[:slash] + "//" + path[slash:].lstrip("/"),
                "/" + path,
                path + "/" + "x" * MAX_PATH_CHARACTERS,
                path * (MAX_PATH_CHARACTERS // len(path) + 1),
                " " + path,
                path.replace("/", "\\"),
                path.replace("/", "%2F"),
            ]
        )
    )
    return broken


class TestParsePath:
    @settings(max_examples=2000, deadline=None)
    @given(_invalid())
    @example("")
    @example("/")
    @example("/.")
    @example("/a/..")
    @example("/a\n")
    @example("/" + "a" * MAX_PATH_CHARACTERS)
    def test_an_invalid_path_is_refused(self, path: str) -> None:
        with pytest.raises(InvalidPathError) as caught:
            parse_path(path, driver="some-driver")
        error = caught.value
        assert (error.driver_name, error.path) == ("some-driver", path)
        assert error.reason
        assert str(error).startswith("some-driver: invalid path: ")
        assert len(str(error)) < 1500  # whatever was given
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert not is_path(path)

    @settings(max_examples=1000, deadline=None)
    @given(st.text(max_size=30))
    def test_any_text_is_judged_by_the_grammar(self, text: str) -> None:
        segments = text.split("/")
        valid = (
            re.fullmatch(r"(/[A-Za-z0-9._-]+)+", text) is not None
            and "." not in segments
            and ".." not in segments
        )
        assert is_path(text) == valid
        if valid:
            assert parse_path(text, driver="d") == text
        else:
            with pytest.raises(InvalidPathError):
                parse_path(text, driver="d")

    @given(_valid)
    def test_a_valid_path_is_returned_as_it_is(self, path: str) -> None:
        assert parse_path(path, driver="d") == path
        assert parse_path(path, driver="d", root=True) == path
        assert is_path(path)

    def test_the_root_is_allowed_where_said(self) -> None:
        assert parse_path("/", driver="d", root=True) == ROOT
        with pytest.raises(InvalidPathError, match="root"):
            parse_path("/", driver="d")
        assert not is_path("/")

    @pytest.mark.parametrize("path", ["", "//", "/a/", "/..", "a"])
    def test_nothing_else_is_allowed_as_the_root(self, path: str) -> None:
        with pytest.raises(InvalidPathError):
            parse_path(path, driver="d", root=True)

    def test_the_limit_of_length(self) -> None:
        longest = "/" + "a" * (MAX_PATH_CHARACTERS - 1)
        assert parse_path(longest, driver="d") == longest
        with pytest.raises(InvalidPathError, match="1025 characters"):
            parse_path(longest + "a", driver="d")

    @pytest.mark.parametrize("path", [None, b"/a", 1, ["/a"], object(), bytearray(b"/a")])
    def test_what_is_no_text_is_refused(self, path: object) -> None:
        with pytest.raises(InvalidPathError) as caught:
            parse_path(path, driver="d")  # type: ignore[arg-type]
        assert caught.value.path == repr(path)
        assert type(path).__name__ in caught.value.reason
