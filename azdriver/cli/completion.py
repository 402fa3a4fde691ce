"""``azdriver completion``, and what it completes: the paths of the driver."""

from __future__ import annotations

import asyncio
from typing import Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from azdriver.cli.options import Command
from azdriver.cli.settings import Settings, open_driver

__all__ = ["complete_path", "completion"]

# Longer than this nobody waits for the tab key.
PATIENCE_SECONDS: Final = 3.0
MOST_ITEMS: Final = 1000


@click.command(cls=Command, short_help="Print the shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script for the shell's completion of commands, options and paths.

    \b
    bash:  eval "$(azdriver completion bash)"   in ~/.bashrc
    zsh:   eval "$(azdriver completion zsh)"    in ~/.zshrc
    fish:  azdriver completion fish > ~/.config/fish/completions/azdriver.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "azdriver", "_AZDRIVER_COMPLETE").source())


def complete_path(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """The direct descendants of the directory that is typed, which begin as it goes on."""
    try:
        return asyncio.run(_complete(ctx.ensure_object(Settings), incomplete or "/"))
    except Exception:
        # In the middle of somebody's typing: no driver, no network, no permission.
        return []


async def _complete(settings: Settings, incomplete: str) -> list[CompletionItem]:
    directory = incomplete.rpartition("/")[0] or "/"
    items = []
    async with asyncio.timeout(PATIENCE_SECONDS), open_driver(settings) as driver:
        async for info in (walk := driver.walk(directory)):
            if info.is_dir:
                walk.skip()
            if info.path.startswith(incomplete):
                items.append(CompletionItem(info.path + ("/" if info.is_dir else "")))
            if len(items) == MOST_ITEMS:
                break
        await walk.aclose()
    return items
