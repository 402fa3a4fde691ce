"""What is checked of code that is not run: that what it names exists, and what it sets is right."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import azdriver
from azdriver.factory import ENTRY_POINT_GROUP, make_driver
from doc_pages import ROOT, Block, commands_of

__all__ = ["CHECKS"]

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _check_shell(block: Block) -> None:
    """A block that is not run names only what exists."""
    for command in commands_of(block):
        assert _is_known(command), f"{block}: {shlex.join(command)}"


def _is_known(command: list[str]) -> bool:
    match command:
        case [".", ".venv/bin/activate"] | ["python", "-m", "venv", ".venv"]:
            return True
        case ["python", "-m", "pip", "install", *wanted]:
            return all(map(_can_be_installed, wanted))
        case ["python", "-m", "nox", *arguments]:
            return all(name in SESSIONS for option, name in pairwise(arguments) if option == "-s")
        case ["python", "-m", "pytest", target, *_]:
            return (ROOT / target).exists()
        case ["curl", *_]:  # what the examples' own tests ask of them
            return "http://127.0.0.1:8080/files/" in command[-1]
        case ["python", "-m", module, *_]:
            return (
                importlib.util.find_spec(module) is not None
                or (ROOT / Path(*module.split(".")).with_suffix(".py")).exists()
            )
    return False


def _can_be_installed(word: str) -> bool:
    known_extras = PYPROJECT["project"]["optional-dependencies"]
    extras = re.fullmatch(r"(?:azdriver|\.\.?)(?:\[([a-z,]+)\])?", word)
    if extras:
        return all(extra in ("", *known_extras) for extra in (extras[1] or "").split(","))
    groups = PYPROJECT["dependency-groups"]
    packages = {
        re.split(r"[^\w.-]", wanted)[0]
        for group in groups.values()
        for wanted in group
        if isinstance(wanted, str)
    }
    return word in ("-e", "--group", "--upgrade", "nox", "pip", "pytest", *groups, *packages)


def _sessions() -> set[str]:
    """The names of the noxfile's sessions."""
    names: set[str] = set()
    for node in ast.parse((ROOT / "noxfile.py").read_text("utf-8")).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if "nox.session" in ast.unparse(decorator):
                given = {
                    keyword.arg: keyword.value
                    for keyword in getattr(decorator, "keywords", ())
                    if isinstance(keyword.value, ast.Constant)
                }
                name = given.get("name")
                names.add(str(name.value) if name else node.name)
    return names


SESSIONS = _sessions()


def _check_yaml(block: Block) -> None:
    """A registry's configuration."""
    if block.is_named:
        rest = block.page.read_text("utf-8").partition(block.code)[2]
        assert f'"{block.file_name}"' in rest, f"{block}: nothing reads it"
        return
    azdriver.from_registry_config(text=block.code, environ={})


def _check_toml(block: Block) -> None:
    """A package's entry point is where the factory looks; the command line's profiles are right."""
    loaded = tomllib.loads(block.code)
    for group in loaded.get("project", {}).get("entry-points", {}):
        assert group == ENTRY_POINT_GROUP, str(block)
    account = {"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"}
    for profile in loaded.get("profiles", {}).values():
        if "url" in profile:
            azdriver.from_url(profile["url"], environ=account)
        else:
            make_driver(profile.pop("driver"), profile)


def _no_code(block: Block) -> None:
    pass


CHECKS: dict[str, Callable[[Block], None]] = {
    "": _no_code,
    "sh": _check_shell,
    "toml": _check_toml,
    "yaml": _check_yaml,
    "{eval-rst}": _no_code,
    "{toctree}": _no_code,
}
