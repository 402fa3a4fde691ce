"""What the tab key gives."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from azdriver import AzureBlobDriver

Cli = Callable[..., CompletedProcess[str]]


def completed(cli: Cli, line: str, **env: str) -> list[str]:
    words = line.split(" ")
    ran = cli(
        _AZDRIVER_COMPLETE="bash_complete",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        **env,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return [item.partition(",")[2] for item in ran.stdout.splitlines() if item]


def test_commands_and_options(cli: Cli) -> None:
    assert completed(cli, "azdriver st") == ["stat"]
    assert completed(cli, "azdriver ls --rec") == ["--recursive"]
    assert "--profile" in completed(cli, "azdriver ls --")


async def test_paths(driver: AzureBlobDriver, cli: Cli) -> None:
    for path in ("/dir/one", "/dir/other", "/dir/two/x", "/done"):
        await driver.put_content(path, b"")
    assert completed(cli, "azdriver cat ") == ["/dir/", "/done"]
    assert completed(cli, "azdriver cat /di") == ["/dir/"]
    assert completed(cli, "azdriver get /dir/o") == ["/dir/one", "/dir/other"]
    assert completed(cli, "azdriver ls -l /dir/") == ["/dir/one", "/dir/other", "/dir/two/"]
    assert completed(cli, "azdriver mv /done /dir/t") == ["/dir/two/"]


@pytest.mark.parametrize("url", ["", "nonsense", "azure://account/c?serviceurl=http://127.0.0.1:1"])
def test_nothing_where_nothing_can_be_found(cli: Cli, url: str) -> None:
    assert completed(cli, "azdriver cat /x", AZDRIVER_URL=url) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script(cli: Cli, shell: str) -> None:
    ran = cli("completion", shell)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"_AZDRIVER_COMPLETE={shell}_complete" in ran.stdout
