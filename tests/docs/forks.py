"""Runs programs one after the other, each in a process that has the SDK loaded already.

A program is a file, a file of tests (``test_….py``), or the command ``azdriver``.

Loading it takes longer than most programs of the documentation. A fork has it at once, and is as
fresh as a new process: nothing that one program leaves behind is seen by the next.

A line on the standard input is a job in JSON; a line on the standard output is its exit status.
"""

from __future__ import annotations

import faulthandler
import json
import os
import runpy
import sys
from typing import Any

import pytest

import azdriver.azureblob  # noqa: F401 -- this is what takes long

DEADLINE_SECONDS = 120
# Each project has to choose the scope, or pytest-asyncio warns. The other warning is about what
# was loaded before pytest began, which is the point here.
PYTEST = [
    "--quiet",
    "-o",
    "asyncio_default_fixture_loop_scope=function",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
]


def _become(job: dict[str, Any]) -> None:
    """Turn this process into the program of a job."""
    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
    os.chdir(job["directory"])
    os.environ.update(job["environment"])
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(source, descriptor)
    sys.argv = job["arguments"]
    if sys.argv[0] == "azdriver":
        runpy.run_module("azdriver", run_name="__main__")
    elif sys.argv[0].startswith("test_"):
        sys.path.insert(0, job["directory"])
        sys.exit(pytest.main([*PYTEST, sys.argv[0]]))
    else:
        sys.path.insert(0, job["directory"])
        runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
