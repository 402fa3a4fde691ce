"""The command line; the status is 1 if anything is wrong."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Iterable

from azdriver.testing import soak as lab
from azdriver.testing.azurite import azurite


async def _main(arguments: argparse.Namespace) -> int:
    # The SDK warns of each 5xx without a body, which are many here.
    logging.getLogger("azure").setLevel(logging.ERROR)
    # With a data directory: there, what was overwritten is a part of few large files. In memory
    # each is an item of its own, and clearing tens of thousands of them away takes minutes.
    async with azurite(in_memory=False) as server:
        report = await lab.soak(
            server.connection_string,
            seconds=arguments.seconds,
            tasks=arguments.tasks,
            seed=arguments.seed,
            fault_share=arguments.fault_share,
        )
    print(report)
    return 1 if report.problems() else 0


def _arguments(words: Iterable[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m azdriver.testing.soak", description=lab.__doc__
    )
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--fault-share", type=float, default=0.03)
    return parser.parse_args(list(words))


if __name__ == "__main__":
    raise SystemExit(asyncio.run(_main(_arguments(sys.argv[1:]))))
