"""What is checked: ``python -m nox``, in minutes; before a change goes in, the rest as well:
``nox -s thorough``. One of it: ``nox -s typing``.
"""

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
# A machine that lacks one of the Pythons tests on the others; nox lists what it skipped.
nox.options.error_on_missing_interpreters = False

PYPROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
# With all that is optional, since all of it is tested.
WHOLE_PACKAGE = f".[{','.join(EXTRAS)}]"
PYTHONS = ["3.11", "3.12", "3.13"]
OWN_PYTHON = "{}.{}".format(*sys.version_info)
DEFAULT_PYTHON = OWN_PYTHON if OWN_PYTHON in PYTHONS else PYTHONS[-1]
# In this order, with the tests last: their summary is what one wants to see.
nox.options.sessions = [
    "lint",
    "typing",
    "docs",
    "build",
    "tour-small",
    f"tests-{DEFAULT_PYTHON}",
]
# The oldest Python and that of the labs are always among what is tested.
THOROUGH = ["soak-short", "minimums", "labs"]
if PYTHONS[0] != DEFAULT_PYTHON:
    THOROUGH.insert(2, f"tests-{PYTHONS[0]}")
# The labs (faults, kills, histories, random load) take minutes: once is enough; on the Python
# that counts lines without slowing them down.
LABS_PYTHON = "3.13"
COVERAGE_CORE = {"COVERAGE_CORE": "sysmon"}
# -P keeps the checkout off sys.path: what is tested is the wheel, installed.
# -X dev shows what was not closed or awaited; -W error makes it a failure.
PYTHON = ("python", "-P", "-W", "error", "-X", "dev")
# On two cores in half the time, each of the processes with Azurites of its own. The labs are run in
# one: they load the machine by themselves.
PROCESSES = min(4, os.cpu_count() or 1)
IN_PARALLEL = ("--dist", "loadfile", "--tx", f"{PROCESSES}*popen//python={' '.join(PYTHON)}")
WITHOUT_LABS = ("-m", "not lab", *IN_PARALLEL)
CONNECTION_STRING = "AZURE_STORAGE_CONNECTION_STRING"
DOCS = ("-b", "html", "docs", "site")


def _find_pyenv_versions() -> None:
    """Put pyenv's Pythons before its shims: those claim every version, and run only some."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [
        str(directory)
        for version in PYTHONS
        for directory in sorted(root.glob(f"versions/{version}.*/bin"))
    ]
    os.environ["PATH"] = os.pathsep.join([*found, os.environ.get("PATH", "")])


_find_pyenv_versions()


def group(*names: str) -> list[str]:
    """The requirements of dependency groups."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and errors that can be seen in the source."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Types, by two checkers."""
    session.install(WHOLE_PACKAGE, "nox", *group("typing"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, in ``site``; a warning or a broken reference is an error."""
    session.install(WHOLE_PACKAGE, *group("docs"))
    # -P: the names in the reference are those of the wheel.
    session.run("python", "-P", "-m", "sphinx", "-E", "-W", "--keep-going", "-n", "-q", *DOCS)


@nox.session
def build(session: nox.Session) -> None:
    """What is released, in ``dist``: made, checked, and used without any extra."""
    session.install(*group("release"))
    shutil.rmtree("dist", ignore_errors=True)
    session.run("validate-pyproject", "pyproject.toml")
    session.run("python", "-m", "build")  # the wheel out of the sdist
    direct = Path(session.create_tmp()) / "direct"
    session.run("python", "-m", "build", "--wheel", "--outdir", str(direct))
    files = sorted(map(str, Path("dist").iterdir()))
    session.run("twine", "check", "--strict", *files)
    (wheel,) = (file for file in files if file.endswith(".whl"))
    session.run("check-wheel-contents", wheel)
    session.run("python", "tests/release/files.py", "dist", str(direct))
    # An environment of its own: this one has what the checks need, too.
    bare = Path(session.create_tmp()) / "bare"
    session.run("python", "-m", "venv", "--clear", str(bare), silent=True)
    python = str(bare / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "--quiet", wheel, external=True)
    session.run(python, "-P", "-W", "error", "tests/release/bare.py", external=True)


@nox.session
def tour(session: nox.Session) -> None:
    """The guided run on real files; ``nox -s tour -- --help`` shows its options."""
    _tour(session, *session.posargs)


@nox.session(name="tour-small")
def tour_small(session: nox.Session) -> None:
    """The guided run on this repository's own package."""
    _tour(session, "--path", "azdriver", *session.posargs)


def _tour(session: nox.Session, *arguments: str) -> None:
    session.install(".[testing]", *group("tour"))
    shown, environment = _without_secret(arguments)
    session.run("python", "examples/tour.py", *shown, env=environment)


def _without_secret(arguments: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Hand a connection string on by the environment: nox prints the commands that it runs."""
    shown: list[str] = []
    environment: dict[str, str] = {}
    for argument in arguments:
        option, is_joined, value = argument.partition("=")
        if option == "--connection-string" and is_joined:
            shown.append(option)
            environment[CONNECTION_STRING] = value
        elif shown[-1:] == ["--connection-string"] and not argument.startswith("--"):
            environment[CONNECTION_STRING] = argument
        else:
            shown.append(argument)
    return shown, environment


@nox.session(python="3.11")
def minimums(session: nox.Session) -> None:
    """The tests on the lowest version of each dependency that ``pyproject.toml`` allows."""
    project = PYPROJECT["project"]
    requirements = [
        *project["dependencies"],
        *(requirement for extra in EXTRAS.values() for requirement in extra),
        *group("tests", "tour"),
    ]
    session.install(".", *(requirement.replace(">=", "==") for requirement in requirements))
    where = ("tests/test_conformance.py", "tests/azureblob", "tests/cli")
    _pytest(session, *WITHOUT_LABS, *where, *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests on the newest dependencies, without the labs."""
    _install_tested(session)
    _pytest(session, *WITHOUT_LABS, *session.posargs)


@nox.session(python=LABS_PYTHON)
def labs(session: nox.Session) -> None:
    """The tests, then the labs, and the coverage by both; or what is named, with its coverage."""
    _install_tested(session)
    session.env.update(COVERAGE_CORE)
    if session.posargs:
        _pytest(session, "--cov", "--cov-report=term", *session.posargs)
        return
    # What is printed and logged is searched for secrets: here at the level at which all is said.
    _pytest(session, *WITHOUT_LABS, "--log-level=DEBUG", "--cov", "--cov-report=")
    whole = ("--cov", "--cov-append", "--cov-report=term", "--cov-fail-under=95")
    _pytest(session, "-m", "lab", *whole)


@nox.session
def thorough(session: nox.Session) -> None:
    """What takes longer: load, the lowest versions, the labs."""
    for name in THOROUGH:
        session.notify(name)


def _install_tested(session: nox.Session) -> None:
    session.install(
        WHOLE_PACKAGE, *group("tests", "tour", "webapps", "registry", "registry-clients")
    )


@nox.session
def soak(session: nox.Session) -> None:
    """Half an hour of mixed load with faults; ``-- --seconds N`` for another time."""
    _soak(session, *(session.posargs or ["--seconds", "1800"]))


@nox.session(name="soak-short")
def soak_short(session: nox.Session) -> None:
    """A minute of the soak, so that it does not rot."""
    _soak(session, "--seconds", "60")


def _soak(session: nox.Session, *arguments: str) -> None:
    session.install(".[testing]")
    session.run("python", "-P", "-W", "error", "-m", "azdriver.testing.soak", *arguments)


@nox.session
def histories(session: nox.Session) -> None:
    """200,000 recorded operations under faults, checked for linearizability.

    Nothing is excused where the driver is to raise if it is unsure; then fewer at the default
    settings, where the two limits that the README names are, and counted.
    """
    session.install(".[testing]")
    for arguments in (
        [session.posargs]
        if session.posargs
        else [["--operations", "200000", "--raise-if-unsure"], ["--documented"]]
    ):
        session.run("python", "-P", "-W", "error", "-m", "azdriver.testing.histories", *arguments)


@nox.session(python="3.11")
def benchmarks(session: nox.Session) -> None:
    """All benchmarks against the peers, about 45 minutes on an idle machine; then the report."""
    session.install(".[testing]", *group("benchmarks"))
    session.run("python", "-m", "benchmarks.run", *session.posargs)
    session.run("python", "-m", "benchmarks.report")


def _pytest(session: nox.Session, *arguments: str) -> None:
    where = session.run(*PYTHON, "-c", "import azdriver; print(azdriver.__file__)", silent=True)
    if not where or "site-packages" not in where:
        session.error(f"not the installed package would be tested, but {where}")
    session.run(*PYTHON, "-m", "pytest", *arguments)
