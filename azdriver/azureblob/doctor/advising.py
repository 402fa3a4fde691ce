"""What to set and to run, so that blobs of old drivers come into today's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from azdriver.azureblob.doctor.diagnosis import LayoutCount
from azdriver.azureblob.options import AzureBlobOptions

__all__ = ["Parameters", "Steps", "is_others", "is_ours", "to_convert", "to_migrate", "to_set"]

Parameters: TypeAlias = Mapping[str, str | bool]
"""As the registry's configuration names them."""

_MIGRATE: Final = "azdriver migrate"


class Steps(NamedTuple):
    """
    Attributes:
        settings: what is to be set otherwise before.
        commands: to be run then, one after the other.
        others: root directories of registries of other drivers, which the commands would move
            along, away from these drivers.
        legacy_contents: how many the first of the commands makes block blobs of.
    """

    settings: Parameters
    commands: Sequence[str]
    others: Sequence[str] = ()
    legacy_contents: int = 0

    def __str__(self) -> str:
        steps = "run " + ", then ".join(f"'{command}'" for command in self.commands)
        if self.settings:
            steps = f"{to_set(self.settings)}, then {steps}"
        if self.others:
            steps = (
                f"first migrate the registries below {', '.join(self.others)}, each with its own "
                f"rootdirectory, or they are moved along; then {steps}"
            )
        return steps


def is_ours(layout: LayoutCount, root_directory: str) -> bool:
    """Whether it can be told how a driver finds these blobs: other programs may have written any.

    Args:
        layout: of the blobs.
        root_directory: the one that is set, without slashes around it.
    """
    return layout.registry or layout.root_directory == root_directory


def is_others(layout: LayoutCount, root_directory: str) -> bool:
    """Whether these blobs are a registry of another driver.

    Those with a leading slash and no root directory are not: the registry 2.x, which left them, had
    no root directory, and one may have been set since.

    Args:
        layout: of the blobs.
        root_directory: the one of the driver, without slashes around it.
    """
    is_of_2x = layout.legacy_root_prefix and not layout.root_directory
    return layout.registry and layout.root_directory != root_directory and not is_of_2x


def to_migrate(
    layouts: Sequence[LayoutCount], options: AzureBlobOptions, recommended: Parameters
) -> Steps:
    """How the driver comes to find all of them in today's layout.

    Args:
        layouts: those of which it can be told how a driver finds them.
        options: as they are set.
        recommended: what is to be set otherwise, if nothing is migrated.
    """
    settings = _before(recommended)
    root = _root(options, settings)
    mine = [layout for layout in layouts if not is_others(layout, root)]
    if options.legacy_root_prefix and any(not layout.legacy_root_prefix for layout in mine):
        # As long as the legacy root is in use, the command has nothing to move.
        settings["legacyrootprefix"] = False
    if _is_legacy(options, settings):
        return Steps(settings, [_MIGRATE])
    legacy = [layout for layout in mine if layout.legacy_root_prefix]
    is_elsewhere = any(layout.registry and not _is_in(layout, root) for layout in legacy)
    commands = []
    if not is_elsewhere or any(_is_in(layout, root) for layout in legacy):
        commands.append(_MIGRATE)
    if is_elsewhere:
        commands.append(f'{_MIGRATE} --from-root ""')
    return Steps(settings, commands, _moved_along(layouts, root, "" if is_elsewhere else root))


def to_convert(
    layouts: Sequence[LayoutCount], options: AzureBlobOptions, recommended: Parameters
) -> Steps:
    """How legacy contents that the driver may overwrite become block blobs; arguments as above."""
    settings = _before(recommended)
    root = _root(options, settings)
    is_legacy = _is_legacy(options, settings)
    count = sum(
        layout.legacy_contents
        for layout in layouts
        # The command moves what is in the legacy root, unless that is in use.
        if _is_in(layout, root) and (layout.legacy_root_prefix or not is_legacy)
    )
    others = () if is_legacy else _moved_along(layouts, root, root)
    return Steps(settings, [_MIGRATE], others, count)


def to_set(settings: Parameters) -> str:
    """``set one: true and other: text``."""
    values = (
        f"{name}: {str(value).lower() if isinstance(value, bool) else _shown(value)}"
        for name, value in settings.items()
    )
    return f"set {' and '.join(values)}"


def _before(recommended: Parameters) -> dict[str, str | bool]:
    # The legacy root is recommended instead of a migration, not before it.
    return {name: value for name, value in recommended.items() if value is not True}


def _root(options: AzureBlobOptions, settings: Parameters) -> str:
    return str(settings.get("rootdirectory", options.root_directory.strip("/")))


def _is_legacy(options: AzureBlobOptions, settings: Parameters) -> bool:
    return options.legacy_root_prefix and "legacyrootprefix" not in settings


def _moved_along(layouts: Sequence[LayoutCount], root: str, from_root: str) -> Sequence[str]:
    return sorted(
        layout.root_directory
        for layout in layouts
        if layout.legacy_root_prefix and is_others(layout, root) and _is_in(layout, from_root)
    )


def _is_in(layout: LayoutCount, root: str) -> bool:
    return not root or f"{layout.root_directory}/".startswith(f"{root}/")


def _shown(root_directory: str) -> str:
    # Of letters, digits and the like: nothing else has to be quoted, in a shell or in YAML.
    return root_directory or '""'
