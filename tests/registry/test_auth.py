"""Basic authentication, by a file of htpasswd."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import aiohttp
import bcrypt
import pytest
from aiohttp.test_utils import TestServer

from azdriver import ConfigurationError, MemoryDriver
from oci_registry.auth import Htpasswd
from oci_registry.web import make_app
from oci_registry.web.basicauth import require_user
from registry_client import RegistryClient

PASSWORD = "pässword:with a colon"


def _line(user: str, password: str, prefix: bytes = b"2b") -> str:
    # Few rounds: real ones take a quarter of a second each.
    salt = bcrypt.gensalt(4, prefix=prefix)
    return f"{user}:{bcrypt.hashpw(password.encode()[:72], salt).decode()}\n"


def _write(file: Path, content: str | bytes) -> None:
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def _header(user: str, password: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"# people\n\n{_line('ann', PASSWORD)}{_line('bob', 'b', b'2a')}", "utf-8")
    return path


@pytest.fixture
async def registry(file: Path) -> AsyncIterator[RegistryClient]:
    async with MemoryDriver() as driver:
        app = make_app(driver, middlewares=[require_user(Htpasswd(file))])
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            yield RegistryClient(session, server.make_url("/"))


async def test_only_users_come_in(registry: RegistryClient) -> None:
    for path in ("/v2/", "/v2/_catalog", "/v2/a/blobs/nonsense", "/nonsense"):
        answer = await registry.ask("GET", path, status=401)
        assert answer.code == "UNAUTHORIZED"
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="registry", charset="UTF-8"'
    for user, password in (("ann", PASSWORD), ("bob", "b"), ("ann", PASSWORD)):
        await registry.ask("GET", "/v2/", headers=_header(user, password), status=200)
    for user, password in (
        ("ann", "b"),
        ("bob", PASSWORD),
        ("bob", ""),
        ("", "b"),
        ("carol", "b"),
        ("Bob", "b"),
        ("bob", "b\0"),
        ("# people", ""),
    ):
        await registry.ask("GET", "/v2/", headers=_header(user, password), status=401)


@pytest.mark.parametrize(
    "value", ["", "Basic", "Basic !", "Basic Ym9i", "Basic /////w==", "Bearer Ym9iOmI=", "Ym9iOmI="]
)
async def test_what_is_no_credential_is_401(registry: RegistryClient, value: str) -> None:
    await registry.ask("GET", "/v2/", headers={"Authorization": value}, status=401)


async def test_probes_need_no_password(registry: RegistryClient) -> None:
    await registry.ask("GET", "/healthz", status=200)
    await registry.ask("GET", "/readyz", status=200)


async def test_a_push_is_refused_before_its_body_is_sent(registry: RegistryClient) -> None:
    sent = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        sent = True
        yield b"content"

    path = "/v2/a/blobs/uploads/?digest=sha256:" + "0" * 64
    await registry.ask("POST", path, body(), status=401, expect100=True)
    assert not sent


Checks: TypeAlias = Callable[[], int]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    """How often bcrypt was asked."""
    count = 0
    check = bcrypt.checkpw

    def counting(password: bytes, hashed_password: bytes) -> bool:
        nonlocal count
        count += 1
        return check(password, hashed_password)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    return lambda: count


async def test_who_came_in_is_remembered(file: Path, checks: Checks) -> None:
    users = Htpasswd(file)
    admitted = await asyncio.gather(*(users.admits("ann", PASSWORD) for _ in range(20)))
    assert all(admitted)
    assert checks() == 1
    assert await users.admits("ann", PASSWORD)
    assert checks() == 1
    # Who did not is not, and a user who is not there costs as much as one who is.
    for user in ("ann", "ann", "carol", "carol"):
        assert not await users.admits(user, "wrong")
    assert checks() == 5


async def test_the_file_is_read_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    users = Htpasswd(file)
    assert await users.admits("bob", "b")
    _write(file, _line("bob", "new") + _line("carol", "c"))
    assert not await users.admits("bob", "b")
    assert await users.admits("bob", "new")
    assert await users.admits("carol", "c")


async def test_a_file_that_could_not_be_read_once_is_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    htpasswd = Htpasswd(file)
    os.utime(file, (1, 1))

    def fail(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fail)
        for _ in range(2):
            assert not await htpasswd.admits("ann", PASSWORD)
    assert len(caplog.records) == 1
    assert await htpasswd.admits("ann", PASSWORD)


@pytest.mark.parametrize(
    "content",
    ["", "# nobody\n", "ann:secret-in-plain-text\n", "ann:$apr1$salt$secret-in-plain-text\n", None],
)
async def test_who_is_not_in_the_file_any_more_stays_out(
    file: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    users = Htpasswd(file)
    assert await users.admits("ann", PASSWORD)
    if content is None:
        os.unlink(file)
    else:
        _write(file, content)
    for _ in range(2):
        for user, password in (("ann", PASSWORD), ("bob", "b"), ("", ""), ("carol", "c")):
            assert not await users.admits(user, password)
    # Said once, and not for each request.
    assert caplog.text.count("nobody comes in") == 1
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert "secret-in-plain-text" not in caplog.text
    # With the file they come back.
    _write(file, _line("ann", PASSWORD))
    assert await users.admits("ann", PASSWORD)


async def test_a_line_that_is_not_understood_changes_nothing_else(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = Htpasswd(file)
    assert await users.admits("ann", PASSWORD)
    lines = _line("bob", "new") + "dora:secret\n" + _line("carol", "c")
    _write(file, b"\xff:secret\n" + lines.encode())
    assert not await users.admits("ann", PASSWORD)
    assert not await users.admits("dora", "secret")
    assert await users.admits("bob", "new")
    assert await users.admits("carol", "c")
    assert "line 1" in caplog.text
    assert "line 3" in caplog.text
    assert "nobody" not in caplog.text
    assert "secret" not in caplog.text


async def test_a_long_password_counts_as_htpasswd_counts_it(file: Path) -> None:
    _write(file, _line("ann", "x" * 100))
    assert await Htpasswd(file).admits("ann", "x" * 100)
    assert not await Htpasswd(file).admits("ann", "x" * 71)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# nobody\n",
        "ann:secret\n",
        "ann\n",
        f":{'$2y$05$' + 'a' * 53}\n",
        "ann:$apr1$salt$secret\n",
        "ann:{SHA}secret\n",
    ],
)
def test_a_file_that_is_none_is_refused(file: Path, content: str) -> None:
    file.write_text(content, "utf-8")
    with pytest.raises(ConfigurationError, match="htpasswd") as caught:
        Htpasswd(file)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        Htpasswd(tmp_path / "missing")


async def test_no_password_is_shown(
    file: Path, registry: RegistryClient, debug_log: Callable[[], str]
) -> None:
    for password in (PASSWORD, "a-wrong-one"):
        header = _header("ann", password)
        await registry.ask("GET", "/v2/", headers=header)
        users = Htpasswd(file)
        await users.admits("ann", password)
        shown = debug_log() + repr(users) + repr(vars(users)) + str(users)
        for secret in (password, header["Authorization"][6:], bcrypt_hash(file)):
            assert secret not in shown


def bcrypt_hash(file: Path) -> str:
    return file.read_text("utf-8").splitlines()[2].partition(":")[2]
