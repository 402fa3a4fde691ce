"""``azdriver doctor`` and ``azdriver migrate`` on what an old driver left."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator, Callable
from subprocess import CompletedProcess
from typing import Any

import pytest
from azure.storage.blob.aio import ContainerClient

from azdriver import AzureBlobDriver
from azdriver.azureblob.connectionstring import options_from_connection_string
from azdriver.azureblob.migration import migrate
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send, answer

Cli = Callable[..., CompletedProcess[str]]
Settings = Callable[..., dict[str, str]]

REGISTRY = "docker/registry/v2"
LINK, LINK_2, LINK_3 = (
    f"{REGISTRY}/repositories/a/_manifests/tags/{tag}/current/link" for tag in range(1, 4)
)


class Crash(BaseException):
    """What no code of ours catches."""


@pytest.fixture
async def legacy(azurite_server: AzuriteServer, container: str) -> AsyncIterator[AzureBlobDriver]:
    """A driver of the old layout, which has stored three contents."""
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, legacy_root_prefix=True
    ) as driver:
        for path in ("/a/one", "/a/two", "/b"):
            await driver.put_content(path, path.encode())
        yield driver


async def test_doctor(legacy: AzureBlobDriver, cli: Cli) -> None:
    ran = cli("doctor")
    assert ran.returncode == 1
    assert "\nerror: " in ran.stdout
    assert "[layout-legacy-root]" in ran.stdout
    assert ran.stdout.endswith("\nset:\n  legacyrootprefix: true\n")
    assert ran.stderr.startswith("azdriver: looking at test-")
    found = json.loads(cli("doctor", "--json", "--whole", "-q").stdout)
    assert found["is_healthy"] is False
    assert found["counts"]["blobs"] == 3


async def test_migrate(legacy: AzureBlobDriver, driver: AzureBlobDriver, cli: Cli) -> None:
    ran = cli("migrate")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("azdriver: without a terminal, give --yes to migrate")
    assert "to move:       3 blobs, 14 B\n" in cli("migrate", "--dry-run").stdout
    assert json.loads(cli("migrate", "-n", "--json").stdout)["moves"] == 3
    ran = cli("migrate", "--yes")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("moved:      3 blobs\n")
    assert await driver.get_content("/a/two") == b"/a/two"
    assert list(await legacy.list("/")) == []
    assert json.loads(cli("migrate", "-y", "--json").stdout)["moved"] == 0
    assert cli("doctor").returncode == 0


def url_of(env: dict[str, str], root_directory: str, legacy_root_prefix: str) -> str:
    url, query = env["AZDRIVER_URL"].split("?")
    return f"{url}/{root_directory}?{query}&legacyrootprefix={legacy_root_prefix}"


def follow(advice: str, root: str, legacy: str, env: dict[str, str], cli: Cli) -> str:
    """Do to the letter what an advice says; the URL that is to be used from then on."""
    for other in others_first(advice):
        ran = cli("migrate", "--yes", AZDRIVER_URL=url_of(env, other, "false"))
        assert ran.returncode == 0, ran.stderr
    set_before = dict(re.findall(r'(legacyrootprefix|rootdirectory): ([\w/".-]+)', advice))
    root = set_before.get("rootdirectory", root).strip('"')
    url = url_of(env, root, set_before.get("legacyrootprefix", legacy))
    commands = re.findall("'(azdriver [^']*)'", advice)
    assert commands or set_before, advice
    for command in commands:
        ran = cli(*shlex.split(command)[1:], "--yes", AZDRIVER_URL=url)
        assert ran.returncode == 0, ran.stderr
    return url


def others_first(advice: str) -> list[str]:
    """The root directories that an advice says to migrate before."""
    found = re.search("first migrate the registries below (.*?), each", advice)
    return found[1].split(", ") if found else []


def findings(cli: Cli, url: str) -> dict[str, str]:
    """The advice of each finding."""
    ran = cli("doctor", "--json", "--whole", "-q", AZDRIVER_URL=url)
    return {each["code"]: each["advice"] for each in json.loads(ran.stdout)["findings"]}


@pytest.mark.parametrize(
    ("names", "root", "legacy", "code"),
    [
        (["/a/b"], "", "false", "layout-other"),
        (["a/b"], "", "true", "layout-other"),
        (["/r/a/b"], "r", "false", "layout-other"),
        ([f"/{LINK}"], "r", "false", "layout-other"),
        ([f"/r/s/{LINK}"], "", "false", "layout-other"),
        ([f"r/{LINK}", "/r/x"], "", "true", "layout-other"),
        ([f"/{LINK}", f"/r/{LINK_2}"], "r", "false", "layout-other"),
        ([f"/r/{LINK}", f"/s/{LINK}"], "r", "false", "layout-other"),
        ([f"/r/{LINK}", f"/s/{LINK}"], "", "false", "layout-other"),
        ([f"/r/{LINK}", f"s/{LINK}", f"s/{LINK_2}"], "r", "false", "layout-other"),
        ([f"r/{LINK}", f"/s/{LINK}", f"/{LINK_2}"], "r", "true", "layout-other"),
        ([f"/{LINK}", f"/s/{LINK}", f"/t/{LINK}"], "", "false", "layout-other"),
        ([f"/r/{LINK}", f"/r/s/{LINK}"], "r", "false", "layout-other"),
        (["/a/b", "c"], "", "false", "layouts-mixed"),
        (["/a/b", "c"], "", "true", "layouts-mixed"),
        (["/r/a/b", "r/c", "/other"], "r", "true", "layouts-mixed"),
        ([f"/{LINK}", f"r/{LINK_2}"], "r", "false", "layouts-mixed"),
        (
            [f"/{LINK}", f"/s/{LINK}", f"/r/{LINK_2}", f"r/{LINK_3}"],
            "r",
            "true",
            "layouts-mixed",
        ),
        ([f"/s/{LINK}", f"/{LINK}", f"r/{LINK}"], "x", "true", None),
        ([f"r/{LINK}", f"/s/{LINK}"], "r", "false", None),
        ([f"r/{LINK}", f"/r/s/{LINK}"], "r", "false", None),
        ([f"/r/{LINK}", f"s/{LINK}", f"{LINK}"], "r", "true", None),
        ([LINK, f"/s/{LINK}"], "", "false", None),
        ([LINK], "", "false", None),
        ([f"/{LINK}"], "", "true", None),
        ([f"/r/{LINK}", f"/s/{LINK}"], "r", "true", None),
        (["r/b", "s/b", "/s/b"], "r", "false", None),
    ],
)
async def test_what_the_doctor_advises_is_right_and_enough(
    sdk: ContainerClient,
    settings: Settings,
    cli: Cli,
    names: list[str],
    root: str,
    legacy: str,
    code: str | None,
) -> None:
    async def plant() -> None:
        await sdk.delete_blobs(*[blob.name async for blob in sdk.list_blobs()])
        for name in names:
            await sdk.upload_blob(name, name.encode(), blob_type="AppendBlob")

    async def is_of_another_driver_left(advice: str, own: str) -> bool:
        for name in names:
            other = name.partition(f"/{REGISTRY}")[0].strip("/")
            if REGISTRY not in name or other in ("", own):
                continue
            now = name.removeprefix("/") if other in others_first(advice) else name
            if await (await sdk.download_blob(now)).readall() != name.encode():
                return False
        return True

    await plant()
    found = findings(cli, url_of(settings(), root, legacy))
    assert {"layout-other", "layouts-mixed"} & set(found) == {code} - {None}
    for finding in ("legacy-contents", code) if code else ("legacy-contents",):
        for alternative in found[finding].split("; or "):
            await plant()
            url = follow(alternative, root, legacy, settings(), cli)
            assert not {finding, "root-directory-other"} & set(findings(cli, url)), alternative
            own = url.partition("?")[0].partition(f"/{sdk.container_name}/")[2]
            assert await is_of_another_driver_left(alternative, own), alternative


@pytest.mark.parametrize("legacy", ["true", "false"])
async def test_the_doctor_says_how_to_finish_a_migration(
    sdk: ContainerClient,
    driver: AzureBlobDriver,
    settings: Settings,
    cli: Cli,
    legacy: str,
) -> None:
    await sdk.upload_blob("a", b"only copy", blob_type="AppendBlob")
    fault = answer(403, "AuthorizationFailure", on="Copy Blob", times=None)
    report = await migrate(driver.options, wrap_transport=Faults(fault).wrap)
    assert report.stopped
    assert [blob.name async for blob in sdk.list_blobs()] != ["a"]
    found = findings(cli, url_of(settings(), "", legacy))
    url = follow(found["migration-unfinished"], "", legacy, settings(), cli)
    assert "migration-unfinished" not in findings(cli, url)
    assert await driver.get_content("/a") == b"only copy"


async def test_what_cannot_be_migrated_is_told(
    legacy: AzureBlobDriver, driver: AzureBlobDriver, cli: Cli
) -> None:
    await driver.put_content("/b", b"another content")
    ran = cli("migrate", "--yes")
    assert ran.returncode == 1
    assert "moved:      2 blobs\n" in ran.stdout
    assert ran.stderr.startswith("azdriver: conflict: '/b' -> 'b': ")
    assert ran.stderr.count("\n") == 1
    assert await driver.get_content("/b") == b"another content"


async def test_the_root_directory_now_is_that_of_the_url(
    azurite_server: AzuriteServer, container: str, settings: Settings, cli: Cli
) -> None:
    """What moves is the layout, unless it is said where from."""
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, root_directory="r", legacy_root_prefix=True
    ) as old:
        await old.put_content("/a", b"below r")
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, legacy_root_prefix=True
    ) as other:
        await other.put_content("/b", b"elsewhere")
    here = settings(rootdirectory="r")
    assert json.loads(cli("migrate", "-y", "--json", **here).stdout)["moved"] == 1
    assert cli("ls", "-R", **here).stdout == "/a\n"
    assert cli("migrate", "-y", "--from-root", "", **here).returncode == 0
    assert cli("ls", "-R", **here).stdout == "/a\n/b\n"


async def test_an_earlier_content_that_was_kept_is_dropped_when_it_is_said(
    azurite_server: AzuriteServer, container: str, settings: Settings, cli: Cli
) -> None:
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        blob = client.get_blob_client("a")
        await blob.upload_blob(b"old", blob_type="AppendBlob")

        async def crash(request: Any, send: Send) -> Any:
            raise Crash

        options = options_from_connection_string(azurite_server.connection_string, container)
        with pytest.raises(BaseExceptionGroup):
            await migrate(
                options, wrap_transport=Faults(Fault("crash", crash, on="Copy Blob")).wrap
            )
        await blob.upload_blob(b"another", overwrite=True)
    assert "to finish:     1 blob of" in cli("migrate", "-n").stdout
    ran = cli("migrate", "--yes")
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith("azdriver: conflict: 'a' -> '~azdriver-migration/")
    assert "conflicts:     1 blob\n" in cli("migrate", "-n").stdout
    assert "to drop:       1 earlier content\n" in cli("migrate", "-n", "--drop-superseded").stdout
    found = findings(cli, settings()["AZDRIVER_URL"])
    assert "migration-unfinished" not in found
    assert found["migration-superseded"].endswith("run 'azdriver migrate --drop-superseded'")
    ran = cli("migrate", "--yes", "--drop-superseded")
    assert "migration-superseded" not in findings(cli, settings()["AZDRIVER_URL"])
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "dropped:    1 earlier content\n" in ran.stdout
    assert cli("cat", "/a").stdout == "another"


@pytest.mark.parametrize("how", ["--dry-run", "--yes"])
def test_a_container_that_is_not_there_is_named(
    azurite_server: AzuriteServer, cli: Cli, how: str
) -> None:
    url = (
        f"azure://{azurite_server.account_name}/mistyped?serviceurl={azurite_server.blob_endpoint}"
    )
    ran = cli("migrate", how, "--url", url)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "azdriver: azure: parameter container: does not exist: mistyped\n"


@pytest.mark.parametrize("command", [["doctor"], ["migrate", "--yes"]])
def test_another_driver_is_refused(cli: Cli, command: list[str]) -> None:
    ran = cli(*command, "--url", "memory:")
    assert ran.returncode == 2
    assert ran.stderr == "azdriver: this is for Azure Blob Storage alone: the driver azure\n"


@pytest.mark.parametrize(
    ("option", "error"),
    [
        (["--from-root", "a//b"], "parameter from_root_directory: is not a path"),
        (["--jobs", "0"], "Invalid value for '-j' / '--jobs'"),
        (["--convert", "some"], "Invalid value for '--convert'"),
        (["--max-convert-size", "big"], "Invalid value for '--max-convert-size': 'big'"),
    ],
)
def test_a_wrong_option(cli: Cli, option: list[str], error: str) -> None:
    ran = cli("migrate", "--dry-run", *option)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert error in ran.stderr
    assert ran.stderr.count("\n") == 1
