"""The changelog and the version say the same, in the form in which tools and people read them."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

from packaging.version import Version

import azdriver

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
HEADINGS = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
RELEASES = [heading.partition(" - ")[::2] for heading in HEADINGS[1:]]
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def test_what_is_not_released_comes_first() -> None:
    assert HEADINGS[0] == "Unreleased"


def test_each_release_has_a_version_and_a_date() -> None:
    for version, day in RELEASES:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        date.fromisoformat(day)


def test_the_newest_release_is_first() -> None:
    versions = [Version(version) for version, _ in RELEASES]
    days = [day for _, day in RELEASES]
    assert sorted(versions, reverse=True) == versions
    assert sorted(days, reverse=True) == days


def test_the_version_is_the_newest_release_or_on_the_way_to_the_next() -> None:
    version = Version(azdriver.__version__)
    newest = Version(RELEASES[0][0]) if RELEASES else Version("0")
    if version.is_devrelease:
        assert version > newest
    else:
        assert version == newest
        unreleased = CHANGELOG.partition("## Unreleased")[2].partition("\n## ")[0]
        assert not unreleased.strip(), "a change after the release: the version is a .dev0 then"


def test_changes_are_sorted_by_kind() -> None:
    assert set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)) <= set(KINDS)
    # A change that stands under no kind would be overlooked.
    for section in re.split(r"^## .*$", CHANGELOG, flags=re.MULTILINE)[1:]:
        assert not section.partition("###")[0].strip()


def test_the_supported_pythons_are_named_alike() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [
        line.rpartition(" ")[2]
        for line in project["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", line)
    ]
    assert project["requires-python"] == f">={named[0]}"
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    assert f"PYTHONS = {named!r}".replace("'", '"') in noxfile
