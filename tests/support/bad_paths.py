"""Paths, valid and invalid, for Hypothesis."""

from __future__ import annotations

import string
from typing import Final

from hypothesis import strategies as st

__all__ = ["invalid_paths", "valid_paths"]

LETTERS: Final = string.ascii_letters + string.digits + "._-"

segments = st.text(LETTERS, min_size=1, max_size=12).filter(lambda s: s not in (".", ".."))
valid_paths = st.lists(segments, min_size=1, max_size=6).map(lambda s: "/" + "/".join(s))
dots = st.sampled_from([".", "..", "%2e", "%2e%2e", "%2E.", ".%2e", "%252e%252e"])
slashes = st.sampled_from(["//", "%2f", "%2F", "%252F", "\\", "%5c", "/./", "/../", "\\..\\", ";/"])
odd_characters = st.sampled_from(
    [*map(chr, range(0x20)), *" \"#$%&'()*+,:;<=>?@[\\]^`{|}~\x7f\x85\xa0"]
) | st.characters(exclude_characters=LETTERS + "/")


@st.composite
def invalid_paths(draw: st.DrawFn) -> str:
    """A valid path with one rule broken at a random place."""
    path = draw(valid_paths)
    at = draw(st.integers(0, len(path)))
    boundary = draw(st.sampled_from([i for i, c in enumerate(path) if c == "/"] + [len(path)]))
    match draw(st.integers(0, 9)):
        case 0:
            return (
                path[:boundary] + "/" + draw(dots.filter(lambda d: "%" not in d)) + path[boundary:]
            )
        case 1:
            return path[:boundary] + "/" + draw(dots.filter(lambda d: "%" in d)) + path[boundary:]
        case 2:
            return path[:at] + draw(odd_characters) + path[at:]
        case 3:
            return path[:boundary] + draw(slashes.filter(lambda s: s != ";/")) + path[boundary:]
        case 4:
            return path + draw(
                st.sampled_from(["\n", "\r\n", "\n/a", " ", "/", "\0", "?a=b", "#a"])
            )
        case 5:
            return path[1:]
        case 6:
            return draw(st.sampled_from(["/", "\\", " ", ".", "http://host", "//host"])) + path
        case 7:
            return path + "/" + draw(st.sampled_from("ab")) * draw(st.integers(1024, 1100))
        case 8:
            return path + "/a" * 255
        case _:
            return "".join(f"%{byte:02x}" for byte in path.encode())
