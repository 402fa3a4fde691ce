"""Whether a driver's options find the blobs that are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from azdriver.azureblob.doctor.advising import (
    Steps,
    is_others,
    is_ours,
    to_convert,
    to_migrate,
    to_set,
)
from azdriver.azureblob.doctor.diagnosis import BlobCounts, Finding, LayoutCount
from azdriver.azureblob.doctor.wording import some
from azdriver.azureblob.options import AzureBlobOptions

__all__ = ["AboutLayouts", "Recommended", "about_layouts"]

Recommended: TypeAlias = dict[str, str | bool]


class AboutLayouts(NamedTuple):
    """
    Attributes:
        findings: on the layouts.
        recommended: the parameters that would find the blobs.
        migration: how they all come into one layout.
        conversion: how legacy contents become block blobs.
    """

    findings: Sequence[Finding]
    recommended: Recommended
    migration: Steps
    conversion: Steps


def about_layouts(
    layouts: tuple[LayoutCount, ...],
    counts: BlobCounts,
    options: AzureBlobOptions,
    only_directory: str,
) -> AboutLayouts:
    """
    Args:
        layouts: the largest first.
        counts: of blobs.
        options: as they are set.
        only_directory: the one that all names begin with, if there is one.
    """
    root = options.root_directory.strip("/")
    legacy = options.legacy_root_prefix
    ours = [layout for layout in layouts if is_ours(layout, root)]
    # A registry's tree says for certain what it is; a few other blobs are no layout. Where the one
    # of the set root directory is there, others are for other drivers.
    trees = [layout for layout in ours if layout.registry]
    own = [layout for layout in trees if layout.root_directory == root]
    telling = own or trees or ours
    is_other = bool(telling) and all(layout.legacy_root_prefix != legacy for layout in telling)
    recommended: Recommended = {"legacyrootprefix": not legacy} if is_other else {}
    registries = [
        layout.root_directory
        for layout in telling
        if layout.registry and layout.legacy_root_prefix == (legacy != is_other)
    ]
    of_root: list[Finding] = []
    if registries:
        of_root = _of_registries(registries, root, recommended)
    elif only_directory:
        of_root = _of_directory(only_directory, root)
    elif not ours and not counts.no_paths:
        of_root = [_of_none(root, is_whole=counts.is_whole)]
    migration = to_migrate(ours, options, recommended)
    found = [_seen(layout, counts) for layout in layouts]
    if own:
        found += _of_others(trees, root)
    mine = [
        layout
        for layout in ours
        if not is_others(layout, str(recommended.get("rootdirectory", root)))
    ]
    if counts.of_more_registries:
        number = sum(layout.registry for layout in layouts)
        blobs = some(counts.of_more_registries, "blob")
        example = f"such as {counts.examples['of_more_registries'][0]!r}"
        text = f"there are more than {number} registries: {blobs} of others, {example}"
        found.append(Finding("info", "registries-many", text))
    if is_other:
        advice = to_set(recommended)
        if not legacy:
            advice += f"; or migrate the blobs: {migration}"
        text = "the blobs are in the other layout than is set"
        found.append(Finding("error", "layout-other", text, advice))
    elif any(layout.legacy_root_prefix != legacy for layout in mine):
        text = "both layouts are in the container; a driver sees one of them"
        advice = f"to have all of them in one layout, {migration}"
        found.append(Finding("warning", "layouts-mixed", text, advice))
    conversion = to_convert(ours, options, recommended)
    return AboutLayouts([*found, *of_root], recommended, migration, conversion)


def _seen(layout: LayoutCount, counts: BlobCounts) -> Finding:
    parts = [some(layout.blobs, "blob")]
    parts.append("of a registry" if layout.registry else "")
    parts.append("with a leading slash" if layout.legacy_root_prefix else "without a leading slash")
    if layout.root_directory:
        parts.append(f"below the root directory {layout.root_directory}")
    parts.append("" if counts.is_whole else "(of a sample)")
    code = "layout-legacy-root" if layout.legacy_root_prefix else "layout-today"
    return Finding("info", code, " ".join(part for part in parts if part))


def _of_others(trees: Sequence[LayoutCount], root: str) -> list[Finding]:
    others = {tree.root_directory for tree in trees if is_others(tree, root)}
    if not others:
        return []
    names = ", ".join(sorted(name or "none" for name in others))
    text = f"there are registries with other root directories ({names}), for other drivers"
    return [Finding("info", "registries-other", text)]


def _of_registries(registries: list[str], root: str, recommended: Recommended) -> list[Finding]:
    if root in registries:
        return []
    names = ", ".join(sorted(name or "no root directory" for name in registries))
    right = registries[0]
    recommended["rootdirectory"] = right
    return [
        Finding(
            "error",
            "root-directory-other",
            f"the registry is below {names}; set is {root or 'none'}",
            to_set({"rootdirectory": right}),
        )
    ]


def _of_none(root: str, *, is_whole: bool) -> Finding:
    where = f" below {root}/" if root else ""
    if is_whole:
        return Finding("info", "empty", f"no blob was found{where}: any layout will do")
    text = f"no blob was seen{where}, in a sample: there may be some, of any layout"
    return Finding("warning", "none-seen", text, "look at the whole container")


def _of_directory(only_directory: str, root: str) -> list[Finding]:
    text = f"all names that were seen begin with {only_directory}/"
    if not root:
        advice = f"set rootdirectory: {only_directory}, if paths are to begin below it"
        return [Finding("info", "root-directory-possible", text, advice)]
    if root.partition("/")[0] == only_directory:
        return []
    advice = f"set rootdirectory: {only_directory}, if that is where the paths begin"
    return [Finding("error", "root-directory-other", f"{text}, none with {root}/", advice)]
