"""Who imports what: the registry proves the contract, so it may not know what is behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import oci_registry

REGISTRY: Final = Path(oci_registry.__file__).parent
MODULES: Final = sorted(REGISTRY.rglob("*.py"))
# What is neither stores nor HTTP asks nobody.
PURE: Final = ("errors.py", "layout.py", "manifest.py", "mediatypes.py", "names.py", "settings.py")


def _imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            yield node.module


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(REGISTRY)))
def test_each_module_knows_its_layer_alone(module: Path) -> None:
    for name in _imports(module):
        package = name.partition(".")[0]
        assert package != "azure"
        if package == "azdriver" and name != "azdriver":
            assert name == "azdriver.testing.azurite"
            assert module.name == "__main__.py"
        if module.parent.name == "storage" or module.name in PURE:
            assert package != "aiohttp"
            assert not name.startswith("oci_registry.web")
        if module.parent == REGISTRY and module.name in PURE:
            assert not name.startswith("oci_registry.storage")
        if module.parent.name == "web":
            assert name != "oci_registry.layout"
