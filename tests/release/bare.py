"""Runs where the wheel is installed without any extra: it works, and says what is missing.

By ``nox -s build``, in an environment of its own; no pytest is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import azdriver

EXTRAS: dict[str, Callable[[], object]] = {}
"""What takes an extra, by the words in which the error asks for it."""


def takes(extra: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def note(use: Callable[[], object]) -> Callable[[], object]:
        EXTRAS[f"{extra}: {use.__name__}"] = use
        return use

    return note


@takes("azdriver[identity]")
def default_credential() -> object:
    from azdriver.azureblob import DefaultCredential

    return azdriver.AzureBlobOptions(
        account_url="https://account.blob.core.windows.net",
        container="container",
        credential=DefaultCredential(),
    )


@takes("azdriver[cli]")
def command_line() -> object:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="azdriver")
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        status = command.load()(["--version"])
    raise RuntimeError(f"exit status {status}: {errors.getvalue()}")


@takes("azdriver[yaml]")
def registry_config() -> object:
    return azdriver.from_registry_config(text="storage: inmemory")


@takes("azdriver[testing]")
def conformance() -> object:
    import azdriver.testing.conformance

    return azdriver.testing.conformance


@takes("azdriver[testing]")
def azurite_without_node() -> object:
    from azdriver.testing.azurite import install_azurite

    with tempfile.TemporaryDirectory() as empty:
        return asyncio.run(install_azurite(environment={"PATH": empty, "AZDRIVER_CACHE": empty}))


async def core() -> None:
    async with azdriver.open_driver("memory") as driver:
        await driver.put_content("/a", b"1")
        assert await driver.get_content("/a") == b"1"


def main() -> None:
    package = Path(azdriver.__file__).parent
    assert "site-packages" in package.parts, package
    assert (package / "py.typed").exists()
    assert azdriver.__version__ == importlib.metadata.version("azdriver")
    asyncio.run(core())
    azdriver.AzureBlobDriver.from_connection_string("UseDevelopmentStorage=true", "container")
    for what, use in EXTRAS.items():
        extra = what.partition(":")[0]
        said = "nothing"
        try:
            use()
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        assert f"pip install '{extra}'" in said.replace('"', "'"), f"{what} says {said}"
        print(f"{what} says {said}")


if __name__ == "__main__":
    main()
