"""What to set and to run, so that blobs of old drivers come into today's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from azdriver.azureblob.doctor.diagnosis import LayoutCount
from azdriver.azureblob.options import AzureBlobOptions

__all__ = ["Parameters", "Steps", "is_ours", "to_convert", "to_migrate", "to_set"]

Parameters: TypeAlias = Mapping[str, str | bool]
"""As the registry's configuration names them."""

_MIGRATE: Final = "azdriver migrate"


class Steps(NamedTuple):
    """
    Attributes:
        settings: what is to be set otherwise before.
        commands: to be run then, one after the other.
        legacy_contents: how many the first of them makes block blobs of.
    """

    settings: Parameters
    commands: Sequence[str]
    legacy_contents: int = 0

    def __str__(self) -> str:
        run = "run " + ", then ".join(f"'{command}'" for command in self.commands)
        return f"{to_set(self.settings)}, then {run}" if self.settings else run


def is_ours(layout: LayoutCount, root_directory: str) -> bool:
    """Whether it can be told how a driver finds these blobs: other programs may have written any.

    Args:
        layout: of the blobs.
        root_directory: the one that is set, without slashes around it.
    """
    return layout.registry or layout.root_directory == root_directory


def to_migrate(
    layouts: Sequence[LayoutCount], options: AzureBlobOptions, recommended: Parameters
) -> Steps:
    """How the driver comes to find all of them in today's layout.

    Args:
        layouts: those that are the driver's.
        options: as they are set.
        recommended: what is to be set otherwise, if nothing is migrated.
    """
    settings = _before(recommended)
    if options.legacy_root_prefix and any(not layout.legacy_root_prefix for layout in layouts):
        # As long as the legacy root is in use, the command has nothing to move.
        settings["legacyrootprefix"] = False
    root = _root(options, settings)
    # The registry 2.x had no root directory: what it left is elsewhere, if one is set since.
    legacy = [layout for layout in layouts if layout.legacy_root_prefix]
    elsewhere = {
        layout.root_directory for layout in legacy if layout.registry and not _is_in(layout, root)
    }
    if options.legacy_root_prefix and "legacyrootprefix" not in settings:
        elsewhere.clear()  # these would be moved within the legacy root
    commands = []
    if not elsewhere or any(_is_in(layout, root) for layout in legacy):
        commands.append(_MIGRATE)
    # The longest first: a shorter one has it below itself.
    for name in sorted(elsewhere, key=len, reverse=True):
        commands.append(f"{_MIGRATE} --from-root {_shown(name)}")
    return Steps(settings, commands)


def to_convert(
    layouts: Sequence[LayoutCount], options: AzureBlobOptions, recommended: Parameters
) -> Steps:
    """How legacy contents that the driver may overwrite become block blobs; arguments as above."""
    settings = _before(recommended)
    root = _root(options, settings)
    is_legacy = options.legacy_root_prefix and "legacyrootprefix" not in settings
    count = sum(
        layout.legacy_contents
        for layout in layouts
        # The command moves what is in the legacy root, unless that is in use.
        if _is_in(layout, root) and (layout.legacy_root_prefix or not is_legacy)
    )
    return Steps(settings, [_MIGRATE], count)


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


def _is_in(layout: LayoutCount, root: str) -> bool:
    return not root or f"{layout.root_directory}/".startswith(f"{root}/")


def _shown(root_directory: str) -> str:
    # Of letters, digits and the like: nothing else has to be quoted, in a shell or in YAML.
    return root_directory or '""'
