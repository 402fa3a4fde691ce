"""Every command with ``--debug``, by each kind of credential, good and failing: no secret."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from azdriver import AzureBlobDriver, AzureBlobOptions, factory
from azdriver.azureblob import RetrySettings
from azdriver.cli.app import app
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.tokens import LocalCredential

Cli = Callable[..., CompletedProcess[str]]

WRONG_KEY = base64.b64encode(b"a key that is not this account's" * 2).decode()


def all_commands(files: Path) -> list[tuple[str, ...]]:
    """Each command, well used and ill used; but for ``emulator``, whose key is published."""
    return [
        ("put", str(files / "small"), "/s/"),
        ("put", "-r", "--verify", "--checksum", str(files), "/tree"),
        ("put", "-r", "--resume", str(files), "/tree"),
        ("put", str(files / "missing"), "/s/"),
        ("put", str(files / "small"), "/not a path"),
        ("ls", "-lR"),
        ("ls", "/none"),
        ("tree", "-s"),
        ("du",),
        ("stat", "/s/small", "/none"),
        ("cat", "/s/small", "--offset", "1"),
        ("cat", "/none"),
        ("get", "-r", "--checksum", "/tree", str(files.parent / "back")),
        ("get", "/none", str(files.parent / "back")),
        ("url", "/s/small"),
        ("url", "none"),
        ("mv", "/s/small", "/s/moved"),
        ("mv", "/none", "/other"),
        ("doctor",),
        ("doctor", "--json"),
        ("migrate", "--dry-run"),
        ("migrate", "--yes", "--json"),
        ("bench", "-n", "3", "-s", "1K"),
        ("rm", "/tree"),
        ("rm", "--yes", "/tree", "/s", "/none"),
        ("completion", "bash"),
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "small").write_text("small")
    (tmp_path / "files" / "large").write_bytes(b"x" * (5 * 1024 * 1024))
    return tmp_path / "files"


def assert_nothing_is_shown(ran: CompletedProcess[str], secrets: Iterable[str]) -> None:
    shown = ran.stderr
    # To print a signature is what ``url`` is for; on the standard output alone.
    if ran.args[0] != "url" or ran.returncode:
        shown += ran.stdout
    for secret in secrets:
        for form in (secret, quote(secret, safe=""), unquote(secret), secret[:24]):
            assert form not in shown, ran.args
    assert not re.search(r"sig=(?!…)|AccountKey=(?!…)|Bearer (?!…)|SharedKey \w", shown), ran.args
    assert "internal error" not in shown, ran.args
    assert "Traceback" not in shown, ran.args


def test_all_commands_are_looked_at(files: Path) -> None:
    assert {command[0] for command in all_commands(files)} == {*app.commands} - {"emulator"}


@pytest.mark.parametrize("wrong", [False, True], ids=["good", "wrong"])
@pytest.mark.parametrize("where", ["url", "environment", "file"])
def test_account_key(
    cli: Cli,
    settings: Callable[..., dict[str, str]],
    azurite_server: AzuriteServer,
    container: str,
    files: Path,
    tmp_path: Path,
    where: str,
    wrong: bool,
) -> None:
    key = WRONG_KEY if wrong else azurite_server.account_key
    env = settings(accountkey=key) if where == "url" else {**settings(), "AZURE_STORAGE_KEY": key}
    options: list[str] = []
    if where == "file":
        config = tmp_path / "config.toml"
        config.write_text(
            f'[profiles.x]\ndriver = "azure"\naccountname = "{azurite_server.account_name}"\n'
            f'accountkey = "{key}"\ncontainer = "{container}"\n'
            f'serviceurl = "{azurite_server.blob_endpoint}"\n'
        )
        options = ["--config", str(config), "--profile", "x"]
    commands = all_commands(files)
    if where != "url":  # what comes after the settings is the same
        commands = [command for command in commands if command[0] in ("put", "ls", "doctor")]
    succeeded = 0
    for command in commands:
        ran = cli(*command, "--debug", *options, **env)
        assert_nothing_is_shown(ran, [key])
        succeeded += ran.returncode == 0
    assert (succeeded > len(commands) / 3) != wrong


@pytest.mark.parametrize("wrong", [False, True], ids=["good", "wrong"])
async def test_sas_token(
    driver: AzureBlobDriver,
    cli: Cli,
    settings: Callable[..., dict[str, str]],
    azurite_server: AzuriteServer,
    container: str,
    files: Path,
    wrong: bool,
) -> None:
    sas = generate_container_sas(
        azurite_server.account_name,
        container,
        account_key=WRONG_KEY if wrong else azurite_server.account_key,
        permission=ContainerSasPermissions.from_string("racwdl"),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    signature = parse_qs(sas)["sig"][0]
    env = {**settings(sastoken=sas), "AZURE_STORAGE_KEY": ""}
    for command in all_commands(files):
        ran = cli(*command, "--debug", **env)
        assert_nothing_is_shown(ran, [signature, sas])
        if command[0] == "url" and not wrong:
            assert ran.returncode in (1, 2)  # a SAS cannot sign


@pytest.mark.parametrize("wrong", [False, True], ids=["good", "wrong"])
def test_bearer_token(
    cli: Cli,
    azurite_with_tokens: AzuriteServer,
    container: str,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: bool,
) -> None:
    issued: list[LocalCredential] = []

    def by_token(parameters: Mapping[str, Any]) -> AzureBlobDriver:
        issued.append(LocalCredential(audience="https://elsewhere") if wrong else LocalCredential())
        return AzureBlobDriver(
            AzureBlobOptions(
                account_url=azurite_with_tokens.blob_endpoint,
                container=container,
                credential=issued[-1],
                verify_tls=False,
                retry=RetrySettings(retries=0),
            )
        )

    monkeypatch.setitem(factory._registered, "by-token", by_token)
    config = tmp_path / "config.toml"
    config.write_text('[profiles.x]\ndriver = "by-token"\n')
    for command in all_commands(files):
        ran = cli(*command, "--debug", "--config", str(config), "--profile", "x")
        tokens = [token.token for credential in issued for token in credential.issued]
        assert_nothing_is_shown(ran, tokens)
    assert any(credential.issued for credential in issued)


@pytest.mark.parametrize("command", sorted(app.commands))
def test_a_secret_in_the_wrong_place(cli: Cli, azurite_server: AzuriteServer, command: str) -> None:
    key, text = azurite_server.account_key, azurite_server.connection_string
    for arguments in (
        [command, f"--no-such={key}"],
        [command, text, text, text],
        [command, f"/{key}"],
        [command, "--jobs", key, "--size", key, "--port", key],
        [key],
        ["--profile", text, command, "/x", "/y"],
        ["--url", text, command, "/x", "/y"],
        ["--url", f"azure://a/b/?sig={key}&{key}", command, "/x", "/y"],
        ["--config", f"/{text}", command, "/x", "/y"],
    ):
        if command in ("emulator", "completion") and arguments[0] != command:
            continue  # which ask for no driver
        ran = cli(*arguments, "--debug")
        shown = ran.stdout + ran.stderr
        assert ran.returncode != 0, arguments
        assert key not in shown, arguments
        assert key[:40] not in shown, arguments


def test_a_server_that_is_not_there(cli: Cli, settings: Callable[..., dict[str, str]]) -> None:
    env = settings("http://127.0.0.1:1/devstoreaccount1", max_retries="0")
    ran = cli("ls", "--debug", **env)
    assert ran.returncode == 1
    assert_nothing_is_shown(ran, [env["AZURE_STORAGE_KEY"]])
    errors = [line for line in ran.stderr.splitlines() if line.startswith("azdriver: ")]
    assert len(errors) == 1
