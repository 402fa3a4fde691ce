"""How a command runs: in an event loop, ended by signals in an orderly way."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from azdriver.cli.failures import TERMINATED, Failure
from azdriver.cli.output import set_up_logging
from azdriver.cli.settings import current, open_driver
from azdriver.contract import StorageDriver

__all__ = ["run", "with_driver", "with_new_driver"]

P = ParamSpec("P")
T = TypeVar("T")
_Command: TypeAlias = Callable[Concatenate[StorageDriver, P], Coroutine[Any, Any, None]]


def with_driver(command: _Command[P]) -> Callable[P, None]:
    """Make a command out of a coroutine function whose first argument is the open driver."""
    return _with_driver(command, creates=False)


def with_new_driver(command: _Command[P]) -> Callable[P, None]:
    """As :func:`with_driver`, for what may begin a container."""
    return _with_driver(command, creates=True)


def _with_driver(command: _Command[P], *, creates: bool) -> Callable[P, None]:
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            async with open_driver(current(), creates=creates) as driver:
                await command(driver, *args, **kwargs)

        run(main)

    return wrapped


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end.

    SIGINT and SIGTERM cancel it, so that writers save what they have, and part files are kept.

    Raises:
        KeyboardInterrupt: after SIGINT.
        Failure: after SIGTERM.
    """
    set_up_logging(current())
    return asyncio.run(_until_terminated(main))


async def _until_terminated(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    # Not on Windows, nor in a thread.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await main()
    except asyncio.CancelledError:
        if terminated:
            raise Failure("terminated", TERMINATED) from None
        raise
