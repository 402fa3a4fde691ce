"""Who may import what: the layers, read from the sources; and what ``import azdriver`` costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import azdriver

PACKAGE = Path(azdriver.__file__).parent

# The modules below the drivers: whoever uses the memory driver alone loads these.
CORE = (
    "__init__",
    "base",
    "contract",
    "errors",
    "factory",
    "filewriter",
    "memory",
    "observe",
    "paths",
    "registry",
    "registryyaml",
    "stats",
    "telemetry",
    "tree",
    "urls",
)

# Within the core, who builds on whom; no more than this.
MAY_IMPORT = {
    "errors": set[str](),
    "contract": set[str](),
    "stats": set[str](),
    "telemetry": {"errors"},
    "observe": {"telemetry"},
    "paths": {"errors"},
    "tree": {"contract", "errors", "observe", "paths"},
    "filewriter": {"contract", "errors", "paths"},
    "base": {"contract", "errors", "filewriter", "observe", "paths", "stats", "tree"},
    "memory": {"base", "contract", "errors", "filewriter", "paths", "tree"},
    "urls": {"errors"},
    "factory": {"contract", "errors", "urls"},
    "registryyaml": {"errors"},
    "registry": {"contract", "errors", "factory", "registryyaml"},
}


def _imports(module: Path) -> Iterator[str]:
    """The full names that a module imports, at its top or anywhere else."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _belongs_to(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _run(code: str) -> list[str]:
    """The modules that are loaded after ``code`` in a fresh interpreter."""
    code += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    modules: list[str] = json.loads(done.stdout)
    return modules


@pytest.mark.parametrize(
    "code",
    [
        "import azdriver",
        "from azdriver import MemoryDriver, open_driver",
        "import asyncio, azdriver\n"
        "async def main():\n"
        "    async with azdriver.open_driver('memory') as driver:\n"
        "        await driver.put_content('/a', b'x')\n"
        "asyncio.run(main())",
    ],
    ids=["import", "names", "memory"],
)
def test_no_module_of_azure_is_loaded_unasked(code: str) -> None:
    for module in _run(code):
        for package in (
            "azure",
            "aiohttp",
            "yaml",
            "opentelemetry",
            "pytest",
            "azdriver.azureblob",
            "azdriver.testing",
        ):
            assert not _belongs_to(module, package)


def test_the_azure_driver_is_loaded_when_it_is_asked_for() -> None:
    modules = _run("import azdriver; assert azdriver.AzureBlobDriver.__name__")
    assert "azure.storage.blob" in modules


def test_testing_loads_neither_pytest_nor_azure() -> None:
    for module in _run("import azdriver.testing.azurite"):
        assert not _belongs_to(module, "pytest")
        assert not _belongs_to(module, "azure")


def test_every_public_name_is_there() -> None:
    for name in azdriver.__all__:
        assert getattr(azdriver, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = azdriver.no_such_name


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_nothing_of_azure(module: str) -> None:
    for name in _imports(PACKAGE / f"{module}.py"):
        assert not _belongs_to(name, "azure")
        assert not _belongs_to(name, "aiohttp")
        assert not _belongs_to(name, "azdriver.testing")
        if module != "__init__":  # which has it behind ``__getattr__``
            assert not _belongs_to(name, "azdriver.azureblob")


@pytest.mark.parametrize("module", MAY_IMPORT)
def test_the_core_is_layered(module: str) -> None:
    imported = {
        name.split(".")[1]
        for name in _imports(PACKAGE / f"{module}.py")
        if _belongs_to(name, "azdriver")
    }
    assert imported <= MAY_IMPORT[module]


def test_only_the_driver_and_the_test_tools_import_the_sdk() -> None:
    importers = {
        source.relative_to(PACKAGE).parts[0]
        for source in PACKAGE.rglob("*.py")
        if any(_belongs_to(name, "azure") for name in _imports(source))
    }
    assert importers <= {"azureblob", "testing"}


def test_the_suite_knows_no_driver() -> None:
    suite = PACKAGE / "testing" / "conformance"
    for source in suite.glob("*.py"):
        for name in _imports(source):
            if _belongs_to(name, "azdriver"):
                assert name.startswith(
                    ("azdriver.contract", "azdriver.errors", "azdriver.testing.conformance")
                )


def test_only_the_command_line_imports_what_it_is_made_with() -> None:
    for source in PACKAGE.rglob("*.py"):
        place = source.relative_to(PACKAGE).parts[0]
        if place != "cli":
            for name in _imports(source):
                assert not _belongs_to(name, "click")
                assert not _belongs_to(name, "rich")
                assert place == "__main__.py" or not _belongs_to(name, "azdriver.cli")
