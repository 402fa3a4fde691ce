"""Checks the files of a release; ``nox -s build`` runs it, with the two directories of them.

The wheel is the package and nothing else; the one made out of the sdist is the one made out of the
checkout; and the sdist is all that is under version control, so that its tests can run.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ONLY_IN_SDIST = {"PKG-INFO"}


def _only(directory: Path, pattern: str) -> Path:
    (file,) = directory.glob(pattern)
    return file


def _wheel(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def _sdist(file: Path) -> set[str]:
    with tarfile.open(file) as sdist:
        return {member.name.partition("/")[2] for member in sdist if member.isfile()}


def check(dist: Path, direct: Path) -> None:
    """Raises an AssertionError that says what is wrong."""
    wheel = _wheel(_only(dist, "*.whl"))
    packaged = {name for name in wheel if name.startswith("azdriver/")}
    information = _only(dist, "*.whl").name.partition("-py3")[0] + ".dist-info/"
    strangers = {name for name in wheel.keys() - packaged if not name.startswith(information)}
    assert not strangers, f"the wheel has {strangers}"
    assert "azdriver/py.typed" in packaged
    assert f"{information}licenses/LICENSE" in wheel
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "azdriver").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packaged == sources, f"differs from the sources: {packaged ^ sources}"
    assert wheel == _wheel(_only(direct, "*.whl")), "the sdist makes another wheel"

    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        wanted = set(listed.stdout.splitlines()) | ONLY_IN_SDIST
        found = _sdist(_only(dist, "*.tar.gz"))
        assert found == wanted, f"the sdist differs from the checkout: {found ^ wanted}"


if __name__ == "__main__":
    check(Path(sys.argv[1]), Path(sys.argv[2]))
