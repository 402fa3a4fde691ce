"""The command line ``azdriver``, which takes the extra ``azdriver[cli]``.

It needs no more of azdriver than its public names: whatever it does, a program can do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status.

    Args:
        arguments: what follows ``azdriver``; those of the process by default.
    """
    _open_closed_streams()
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        print(
            f"azdriver: the command line takes {' and '.join(missing)}: "
            "python -m pip install 'azdriver[cli]'",
            file=sys.stderr,
        )
        return 1
    from azdriver.cli.app import run_app

    return run_app(arguments)


def _open_closed_streams() -> None:
    """Open the standard streams that a shell's ``<&-`` or ``>&-`` has closed.

    Python has None for them, and the next file or socket would get their number. Reading and
    writing fail as they do for other programs; only messages are dropped.
    """
    for name, flags, mode in (
        ("stdin", os.O_WRONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
