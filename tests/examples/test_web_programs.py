"""The web apps as they are started, and their table of errors."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Final

import pytest

from azdriver import errors
from azdriver.testing.azurite import AzuriteServer
from web_common.answers import STATUSES, answer_to
from web_common.storage import CONNECTION_STRING, parse_arguments

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
APPS: Final = ["web_aiohttp", "web_starlette"]


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("where", ["emulator", "account"])
def test_it_starts_serves_and_stops(
    azurite_server: AzuriteServer, container: str, app: str, where: str
) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if where == "emulator":  # which is not started, since one runs already
        environment["AZDRIVER_AZURITE"] = azurite_server.blob_endpoint
    else:
        environment[CONNECTION_STRING] = azurite_server.connection_string
    command = [sys.executable, "-m", app, "--port", "0", "--container", container]
    with subprocess.Popen(
        [*command, *(["--emulator"] if where == "emulator" else [])],
        cwd=EXAMPLES,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            shown = ""
            while (found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", shown)) is None:
                line = process.stdout.readline()
                assert line, f"it ended: {shown}"
                # Not the address of the storage.
                shown += line if "unning on" in line else ""
            url = f"{found[0]}/files/a"
            request = urllib.request.Request(url, data=b"some bytes", method="PUT")
            with urllib.request.urlopen(request) as response:
                assert response.status == 201
            with urllib.request.urlopen(url) as response:
                assert response.read() == b"some bytes"
            process.send_signal(signal.SIGINT)
            shown += process.stdout.read()
        finally:
            process.kill()
    # uvicorn hands the signal on when it has stopped.
    assert process.returncode in (0, -signal.SIGINT, 130)
    assert azurite_server.account_key not in shown


@pytest.mark.parametrize("app", APPS)
def test_without_a_storage_it_does_not_start(
    app: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(CONNECTION_STRING, raising=False)
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(app, [])
    assert f"--emulator, or {CONNECTION_STRING} in the environment" in capsys.readouterr().err


def test_every_error_has_a_status() -> None:
    # What the app can cause by a mistake of its own only.
    own = {
        errors.ConfigurationError,
        errors.DriverStateError,
        errors.InvalidExpiryError,
        errors.InvalidOffsetError,
        errors.NotAppendableError,
        errors.WriterStateError,
    }
    known = {getattr(errors, name) for name in errors.__all__} - {errors.StorageDriverError}
    assert known - own == set(STATUSES)


def test_an_error_of_a_third_party_driver_has_the_status_of_its_kind() -> None:
    class GoneError(errors.PathNotFoundError):
        pass

    assert answer_to(GoneError("other", "/a")).status == 404
    assert answer_to(errors.WriterStateError("other", "/a", "already closed")).status == 500
