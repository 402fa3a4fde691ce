"""Links and headings of the documentation hold on a git host, too; the reference is complete."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from doc_pages import DOCS, FENCE, PAGES, ROOT, blocks_of, name_of

LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """Those that a git host gives to the headings."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_links_lead_somewhere(page: Path) -> None:
    """On a git host; the build of the site checks them there."""
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if anchor:
            assert anchor in _anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_is_overlooked(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)) == 2 * len(blocks_of(page))


@pytest.mark.parametrize(
    ("module", "pages"),
    [("azdriver", ("azdriver", "azureblob", "errors")), ("azdriver.azureblob", ("azureblob",))],
)
def test_every_public_name_is_in_the_reference(module: str, pages: tuple[str, ...]) -> None:
    text = "".join((DOCS / "reference" / f"{page}.md").read_text("utf-8") for page in pages)
    described = set(re.findall(r"^\.\. (?:auto|py:)\w+:: (\w+)(?:\(\))?$", text, re.MULTILINE))
    assert set(importlib.import_module(module).__all__) <= described
