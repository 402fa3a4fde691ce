"""Whether a driver's options find the blobs that are there."""

from __future__ import annotations

from typing import TypeAlias

from azdriver.azureblob.doctor.diagnosis import BlobCounts, Finding, LayoutCount
from azdriver.azureblob.doctor.wording import some
from azdriver.azureblob.options import AzureBlobOptions

__all__ = ["Recommended", "about_layouts"]

Recommended: TypeAlias = dict[str, str | bool]


def about_layouts(
    layouts: tuple[LayoutCount, ...],
    counts: BlobCounts,
    options: AzureBlobOptions,
    only_directory: str,
) -> tuple[list[Finding], Recommended]:
    """The findings, and the parameters that would find the blobs."""
    if not layouts:
        empty = Finding("info", "empty", "no blob was found: any layout will do")
        return ([] if counts.no_paths else [empty]), {}
    legacy = options.legacy_root_prefix
    found = [_seen(layout, counts) for layout in layouts]
    recommended: Recommended = {}
    # A registry's tree says for certain what it is; a few other blobs are no layout.
    telling = [layout for layout in layouts if layout.registry] or list(layouts)
    if all(layout.legacy_root_prefix != legacy for layout in telling):
        found.append(
            Finding(
                "error",
                "layout-other",
                "the blobs are in the other layout than is set",
                "set legacyrootprefix: false"
                if legacy
                else "set legacyrootprefix: true, or migrate them by 'azdriver migrate'",
            )
        )
        legacy = not legacy
        recommended["legacyrootprefix"] = legacy
    elif any(layout.legacy_root_prefix != legacy for layout in layouts):
        found.append(
            Finding(
                "warning",
                "layouts-mixed",
                "both layouts are in the container; a driver sees one of them",
                "migrate the legacy root, by 'azdriver migrate'",
            )
        )
    root = options.root_directory.strip("/")
    # The largest first, as the layouts are.
    registries = [
        layout.root_directory
        for layout in telling
        if layout.registry and layout.legacy_root_prefix == legacy
    ]
    if registries:
        found += _of_registries(registries, root, recommended)
    elif only_directory:
        found += _of_directory(only_directory, root)
    return found, recommended


def _seen(layout: LayoutCount, counts: BlobCounts) -> Finding:
    parts = [some(layout.blobs, "blob")]
    parts.append("of a registry" if layout.registry else "")
    parts.append("with a leading slash" if layout.legacy_root_prefix else "without a leading slash")
    if layout.root_directory:
        parts.append(f"below the root directory {layout.root_directory}")
    parts.append("" if counts.is_whole else "(of a sample)")
    code = "layout-legacy-root" if layout.legacy_root_prefix else "layout-today"
    return Finding("info", code, " ".join(part for part in parts if part))


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
            f"set rootdirectory: {right}" if right else "remove rootdirectory",
        )
    ]


def _of_directory(only_directory: str, root: str) -> list[Finding]:
    text = f"all names that were seen begin with {only_directory}/"
    if not root:
        advice = f"set rootdirectory: {only_directory}, if paths are to begin below it"
        return [Finding("info", "root-directory-possible", text, advice)]
    if root.partition("/")[0] == only_directory:
        return []
    advice = f"set rootdirectory: {only_directory}, if that is where the paths begin"
    return [Finding("error", "root-directory-other", f"{text}, none with {root}/", advice)]
