"""What is to be migrated: checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from azdriver.azureblob.legacy import MAX_CONTENT_BYTES
from azdriver.azureblob.options import DRIVER_NAME, shown
from azdriver.errors import ConfigurationError
from azdriver.paths import is_path

__all__ = ["MigrationSettings"]

MAX_PARALLEL: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationSettings:
    """Where the blobs are now, and which of them become block blobs.

    Where they go is what the driver's own options say: ``root_directory`` and
    ``legacy_root_prefix``.

    Attributes:
        from_root_directory: what the names start with now.
        from_legacy_root_prefix: whether they have a leading slash now, as the container registry
            2.0 to 2.8 wrote them.
        convert: which append blobs become block blobs. ``"contents"``: those that an old driver
            wrote most probably: at most ``max_convert_bytes`` long, and neither a stream of
            azdriver's own nor what a registry has by its digest (``blobs/…/data``), which nothing
            overwrites. ``"all"``: of any size, the streams as well, which nobody may go on with
            afterwards. ``"none"``. The uploads of a registry (``_uploads/…/data``) never do.
        max_convert_bytes: the largest that is taken for a content.
        drop_superseded: whether the earlier contents are deleted that an earlier run has kept,
            because another content was written while it converted them.
        parallel: how many blobs are worked on at once. Of one that is converted up to 8 MiB are
            in memory.
    """

    from_root_directory: str = ""
    from_legacy_root_prefix: bool = True
    convert: Literal["none", "contents", "all"] = "contents"
    max_convert_bytes: int = MAX_CONTENT_BYTES
    drop_superseded: bool = False
    parallel: int = 16

    def __post_init__(self) -> None:
        root = self.from_root_directory
        if not isinstance(root, str) or (root.strip("/") and not is_path("/" + root.strip("/"))):
            raise _wrong("from_root_directory", f"is not a path: {shown(root)}")
        for switch in ("from_legacy_root_prefix", "drop_superseded"):
            if not isinstance(getattr(self, switch), bool):
                raise _wrong(switch, f"is to be True or False, not {shown(getattr(self, switch))}")
        if self.convert not in ("none", "contents", "all"):
            raise _wrong("convert", f"is 'none', 'contents' or 'all', not {shown(self.convert)}")
        if type(self.max_convert_bytes) is not int or self.max_convert_bytes < 0:
            raise _wrong(
                "max_convert_bytes", f"is to be 0 or more, not {shown(self.max_convert_bytes)}"
            )
        if type(self.parallel) is not int or not 0 < self.parallel <= MAX_PARALLEL:
            raise _wrong(
                "parallel", f"is to be from 1 to {MAX_PARALLEL}, not {shown(self.parallel)}"
            )


def _wrong(parameter: str, reason: str) -> ConfigurationError:
    return ConfigurationError(DRIVER_NAME, parameter, reason)
