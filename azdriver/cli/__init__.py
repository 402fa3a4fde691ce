"""The command line ``azdriver``, which takes the extra ``azdriver[cli]``.

It needs no more of azdriver than its public names: whatever it does, a program can do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status.

    Args:
        arguments: what follows ``azdriver``; those of the process by default.
    """
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
