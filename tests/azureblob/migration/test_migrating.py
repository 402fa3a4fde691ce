"""Migrations: what comes of each blob."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.blob import (
    BlobType,
    ContainerSasPermissions,
    ContentSettings,
    generate_container_sas,
)
from azure.storage.blob.aio import ContainerClient

from azdriver import AzureBlobDriver, ConfigurationError
from azdriver.azureblob import AzureBlobOptions, SasToken
from azdriver.azureblob.migration import (
    MigrationProgress,
    MigrationSettings,
    migrate,
    plan_migration,
)
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send, answer
from azdriver.testing.tokens import LocalCredential

from .conftest import Migrate, Raw

REGISTRY = "docker/registry/v2"
LINK = f"{REGISTRY}/repositories/alpine/_manifests/tags/latest/current/link"
DATA = f"{REGISTRY}/blobs/sha256/ab/abcd/data"
MANIFEST = f"{REGISTRY}/blobs/sha256/cd/cdef/data"
UPLOAD = f"{REGISTRY}/repositories/alpine/_uploads/1/data"
STARTED = f"{REGISTRY}/repositories/alpine/_uploads/1/startedat"
BLOCK, APPEND = "BlockBlob", "AppendBlob"


async def test_a_registry_of_2016_becomes_one_of_today(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    layer = bytes(range(256)) * 20_000
    await raw.append(f"/{LINK}", b"sha256:cdef")
    await raw.append(f"/{MANIFEST}", b"{}")
    await raw.append(f"/{STARTED}", b"2016-02-03T04:05:06Z")
    await raw.append(f"/{UPLOAD}", b"half a layer")
    await raw.append(f"/{DATA}", layer)
    await raw.put("/empty", b"")

    report = await migrated()

    assert report.is_complete
    assert (report.moved, report.converted) == (6, 2)
    assert await raw.contents() == {
        DATA: (APPEND, layer),  # a stream, as streams are today
        MANIFEST: (APPEND, b"{}"),  # not to be told from a layer, and never overwritten
        "empty": (BLOCK, b""),
        LINK: (BLOCK, b"sha256:cdef"),
        STARTED: (BLOCK, b"2016-02-03T04:05:06Z"),
        UPLOAD: (APPEND, b"half a layer"),  # which may still be gone on with
    }
    async with AzureBlobDriver(options) as driver:
        assert await driver.get_content(f"/{LINK}") == b"sha256:cdef"
        async with driver.writer(f"/{UPLOAD}", append=True) as writer:
            await writer.write(b", and the other half")
            await writer.commit()
    again = await migrated()
    assert again.is_complete
    assert (again.moved, again.converted, again.in_place) == (0, 0, 6)


@pytest.mark.parametrize(
    ("before", "after", "source", "dest"),
    [
        (("", True), ("registry", False), "/a/b", "registry/a/b"),
        (("old", True), ("", False), "/old/a/b", "a/b"),
        (("", False), ("registry", False), "a/b", "registry/a/b"),
        (("registry", False), ("", False), "registry/a/b", "a/b"),
        (("one", False), ("two/deep", False), "one/a/b", "two/deep/a/b"),
        (("", False), ("", True), "a/b", "/a/b"),
        (("/odd/", True), ("/x//", False), "/odd/a/b", "x/a/b"),
    ],
)
async def test_any_layout_becomes_any_other(
    raw: Raw,
    migrated: Migrate,
    before: tuple[str, bool],
    after: tuple[str, bool],
    source: str,
    dest: str,
) -> None:
    await raw.put(source, b"block")
    await raw.append(source + ".link", b"legacy")
    await raw.append(dest + ".there", b"legacy in place")
    for is_first in (True, False):
        report = await migrated(
            root_directory=after[0],
            legacy_root_prefix=after[1],
            from_root_directory=before[0],
            from_legacy_root_prefix=before[1],
        )
        assert report.is_complete, report
        assert await raw.contents() == {
            dest: (BLOCK, b"block"),
            dest + ".link": (BLOCK, b"legacy"),
            dest + ".there": (BLOCK, b"legacy in place"),
        }
        assert (report.moved, report.converted) == ((2, 2) if is_first else (0, 0))


async def test_what_is_of_no_layout_is_left(raw: Raw, migrated: Migrate) -> None:
    for name in ("/a", "/b c", "//d", "other/x", "/é"):
        await raw.put(name, name.encode())
    await raw.append("other/stream", b"x", metadata={"azdriver_write_id": "a stream of today's"})
    report = await migrated()
    assert set(await raw.contents()) == {"a", "/b c", "//d", "/é", "other/x", "other/stream"}
    assert (report.moved, report.converted, report.skipped) == (1, 0, 3)
    assert {incident.name for incident in report.incidents} == {"/b c", "//d", "/é"}
    assert report.is_complete


async def test_a_name_that_would_be_migrated_again_is_left(raw: Raw, migrated: Migrate) -> None:
    await raw.put("r/r/a", b"1")
    await raw.put("r/b", b"2")
    report = await migrated(from_root_directory="r", from_legacy_root_prefix=False)
    assert set(await raw.contents()) == {"r/r/a", "b"}
    assert report.incidents[0].reason == "its new name would be one to be migrated again"
    assert (report.failed, report.skipped, report.is_complete) == (1, 0, False)


async def test_a_name_that_would_be_too_long_is_left(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    name = "/" + "/".join(["x" * 99] * 10)
    await raw.put(name)
    plan = await plan_migration(replace(options, root_directory="r" * 30))
    assert (plan.failed, plan.skipped, plan.moves) == (1, 0, 0)
    report = await migrated(root_directory="r" * 30)
    assert (report.failed, report.skipped, report.is_complete) == (1, 0, False)
    assert set(await raw.contents()) == {name}
    assert "characters as a blob name" in report.incidents[0].reason


@pytest.mark.parametrize("convert", ["none", "contents", "all"])
@pytest.mark.parametrize("moves", [True, False])
async def test_which_append_blobs_are_converted(
    raw: Raw, migrated: Migrate, convert: str, moves: bool
) -> None:
    prefix = "/" if moves else ""
    stream = {"azdriver_write_id": "0123"}
    await raw.append(f"{prefix}small")
    await raw.append(f"{prefix}large", b"x" * 101)
    await raw.append(f"{prefix}stream", metadata=stream)
    await raw.append(f"{prefix}{UPLOAD}")
    await raw.append(f"{prefix}{MANIFEST}")
    report = await migrated(convert=convert, max_convert_bytes=100)
    assert report.is_complete
    types = {name: kind for name, (kind, _) in (await raw.contents()).items()}
    converted = {
        "none": set(),
        "contents": {"small"},
        "all": {"small", "large", "stream", MANIFEST},
    }
    assert types == {
        name: BLOCK if name in converted[convert] else APPEND
        for name in ("small", "large", "stream", UPLOAD, MANIFEST)
    }


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("size", [0, 5, 9_000_000])
async def test_what_belongs_to_a_blob_goes_along(
    raw: Raw, migrated: Migrate, moves: bool, size: int
) -> None:
    settings = ContentSettings(
        content_type="text/x", content_language="de", cache_control="no-store"
    )
    name = "/legacy" if moves else "legacy"
    content = bytes(size)
    belongings: dict[str, Any] = {"content_settings": settings, "metadata": {"owner": "me"}}
    await raw.append(name, content, tags={"a": "b"}, **belongings)
    if moves:
        await raw.put("/block", content[:500_000], tags={"a": "b"}, **belongings)
    report = await migrated(convert="all")
    assert report.is_complete
    assert report.converted == 1
    assert report.migrated_bytes == size + (min(size, 500_000) if moves else 0)
    for path in ("legacy", "block") if moves else ("legacy",):
        found = await raw.properties(path)
        assert found.blob_type == BlobType.BLOCKBLOB
        assert found.metadata["owner"] == "me"
        assert set(found.metadata) == {"owner", "azdriver_write_id"}
        assert found.content_settings.content_type == "text/x"
        assert found.content_settings.content_language == "de"
        assert found.content_settings.cache_control == "no-store"
        assert await raw.sdk.get_blob_client(path).get_blob_tags() == {"a": "b"}
    assert (await raw.contents())["legacy"] == (BLOCK, content)


async def test_another_content_at_the_new_name_is_a_conflict(raw: Raw, migrated: Migrate) -> None:
    await raw.put("/a", b"old")
    await raw.put("a", b"new")
    await raw.put("/same", b"same")
    await raw.append("same", b"same", metadata={"azdriver_write_id": "a stream of today's"})
    await raw.append("/longer", b"longer")
    await raw.put("longer", b"long")
    report = await migrated()
    assert (report.moved, report.conflicts, report.is_complete) == (1, 2, False)
    assert {(i.kind, i.name, i.dest) for i in report.incidents} == {
        ("conflict", "/a", "a"),
        ("conflict", "/longer", "longer"),
    }
    assert await raw.contents() == {
        "/a": (BLOCK, b"old"),
        "/longer": (APPEND, b"longer"),
        "a": (BLOCK, b"new"),
        "longer": (BLOCK, b"long"),
        "same": (APPEND, b"same"),
    }


@pytest.mark.parametrize("moves", [True, False])
async def test_leases_and_snapshots_are_reported_and_the_rest_goes_on(
    raw: Raw, migrated: Migrate, moves: bool
) -> None:
    prefix = "/" if moves else ""
    for name in ("free", "leased", "shot"):
        await raw.append(prefix + name, name.encode())
    lease = await raw.sdk.get_blob_client(f"{prefix}leased").acquire_lease()
    await raw.sdk.get_blob_client(f"{prefix}shot").create_snapshot()
    report = await migrated()
    assert (report.converted, report.failed) == (1, 2)
    reasons = {incident.name: incident.reason for incident in report.incidents}
    assert "it is leased" in reasons[f"{prefix}leased"]
    assert reasons[f"{prefix}shot"] == "it has snapshots"
    assert await raw.contents() == {
        "free": (BLOCK, b"free"),
        f"{prefix}leased": (APPEND, b"leased"),
        f"{prefix}shot": (APPEND, b"shot"),
    }
    await lease.release()
    await raw.sdk.get_blob_client(f"{prefix}shot").delete_blob(delete_snapshots="only")
    assert (await migrated()).is_complete
    assert await raw.contents() == {
        name: (BLOCK, name.encode()) for name in ("free", "leased", "shot")
    }


async def fill_and_migrate(client: ContainerClient, options: AzureBlobOptions) -> None:
    await client.create_container()
    old = Raw(client)
    await old.put("/move", b"move")
    await old.append("/both", b"both")
    await old.append("here", b"here")
    report = await migrate(options)
    assert report.is_complete, report
    assert await old.contents() == {
        name: (BLOCK, name.encode()) for name in ("both", "here", "move")
    }


async def test_a_sas_token_will_do(azurite_server: AzuriteServer, container: str) -> None:
    sas = generate_container_sas(
        azurite_server.account_name,
        container,
        account_key=azurite_server.account_key,
        permission=ContainerSasPermissions(read=True, list=True, write=True, delete=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    options = AzureBlobOptions(
        account_url=azurite_server.blob_endpoint, container=container, credential=SasToken(sas)
    )
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        await fill_and_migrate(client, options)


async def test_a_bearer_token_will_do(azurite_with_tokens: AzuriteServer, container: str) -> None:
    options = AzureBlobOptions(
        account_url=azurite_with_tokens.blob_endpoint,
        container=container,
        credential=LocalCredential(),
        verify_tls=False,
    )
    async with ContainerClient.from_connection_string(
        azurite_with_tokens.connection_string, container, connection_verify=False
    ) as client:
        await fill_and_migrate(client, options)


@pytest.mark.parametrize("moves", [True, False])
async def test_a_blob_written_meanwhile_is_not_lost(
    raw: Raw, migrated: Migrate, moves: bool
) -> None:
    """Appended to at the moment in which it would be deleted."""
    name = "/a" if moves else "a"
    await raw.append(name, b"1")

    async def rival(request: Any, send: Send) -> Any:
        await raw.sdk.get_blob_client(name).append_block(b"2")
        return await send()

    report = await migrated(Fault("rival", rival, on="Delete Blob", times=1))
    assert report.is_complete
    assert await raw.contents() == {"a": (BLOCK, b"12")}


@pytest.mark.parametrize("moves", [True, False])
async def test_a_blob_that_others_keep_writing_is_left_for_another_run(
    raw: Raw, migrated: Migrate, moves: bool
) -> None:
    name = "/a" if moves else "a"
    await raw.append(name, b"")

    async def rival(request: Any, send: Send) -> Any:
        if f"{name}?" in request.url or request.url.endswith(name):
            await raw.sdk.get_blob_client(name).append_block(b"x")
        return await send()

    report = await migrated(Fault("rival", rival, on="Delete Blob", times=None))
    assert (report.changed, report.moved, report.converted) == (1, 0, 0)
    written = (await raw.contents())[name]
    assert set(written[1]) == set(b"x")
    assert (await migrated()).is_complete
    assert await raw.contents() == {"a": (BLOCK, written[1])}


async def test_a_blob_written_between_the_delete_and_the_copy_is_kept_and_the_old_one_too(
    raw: Raw, migrated: Migrate
) -> None:
    await raw.append("a", b"old")

    async def rival(request: Any, send: Send) -> Any:
        await raw.put("a", b"new")
        return await send()

    report = await migrated(Fault("rival", rival, on="Copy Blob"))
    assert report.conflicts == 1
    incident = report.incidents[0]
    assert incident.name == "a"
    contents = await raw.contents()
    assert contents == {"a": (BLOCK, b"new"), incident.dest: (BLOCK, b"old")}


async def test_a_fatal_answer_stops_the_run(raw: Raw, migrated: Migrate) -> None:
    for number in range(50):
        await raw.put(f"/{number}")
    fault = answer(403, "AuthorizationPermissionMismatch", on="Copy Blob", times=None)
    report = await migrated(fault, parallel=2)
    assert report.stopped is not None
    assert "AuthorizationPermissionMismatch" in report.stopped
    assert 1 <= report.failed <= 4
    assert not report.is_complete
    assert len(await raw.contents()) == 50


async def test_progress_is_told_to_its_end(raw: Raw, options: AzureBlobOptions) -> None:
    for number in range(10):
        await raw.put(f"/{number}", b"12345")
    told: list[MigrationProgress] = []
    report = await migrate(options, progress=told.append)
    assert [one.done for one in told[:-1]] == list(range(1, 11))
    assert (told[-1].found, told[-1].done, told[-1].done_bytes) == (10, 10, 50)
    assert told[-1].is_listed
    assert report.to_dict()["is_complete"] is True


async def test_the_plan_says_what_would_be_done_and_does_nothing(
    raw: Raw, options: AzureBlobOptions
) -> None:
    await raw.put("/move", b"12")
    await raw.append("/both", b"345")
    await raw.append("convert", b"6789")
    await raw.put("stays")
    await raw.put("/conflict", b"old content")
    await raw.put("conflict", b"new")
    await raw.append("/compare", b"x", metadata={"azdriver_write_id": "1"})
    await raw.put("compare", b"y")
    await raw.put("/no path")
    await raw.sdk.get_blob_client("/both").acquire_lease()
    before = await raw.contents()
    looked: list[int] = []
    plan = await plan_migration(options, progress=looked.append)
    assert (plan.moves, plan.move_bytes) == (3, 6)
    assert (plan.conversions, plan.conversion_bytes) == (2, 7)
    assert (plan.to_compare, plan.conflicts, plan.skipped, plan.leased) == (1, 1, 1, 1)
    assert plan.in_place == 3
    assert {(i.kind, i.name) for i in plan.incidents} == {
        ("conflict", "/conflict"),
        ("skipped", "/no path"),
    }
    assert looked
    assert await raw.contents() == before


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("from_root_directory", "a b"),
        ("from_root_directory", 7),
        ("from_legacy_root_prefix", "yes"),
        ("convert", "some"),
        ("max_convert_bytes", -1),
        ("drop_superseded", 1),
        ("parallel", 0),
        ("parallel", 257),
    ],
)
def test_wrong_settings_are_named(parameter: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"parameter {parameter}:"):
        MigrationSettings(**{parameter: value})  # type: ignore[arg-type]


async def test_what_was_moved_as_it_is_can_be_converted_later(raw: Raw, migrated: Migrate) -> None:
    await raw.append("/content")
    await raw.append("/stream", metadata={"azdriver_write_id": "a stream of today's"})
    assert (await migrated(convert="none")).moved == 2
    report = await migrated(convert="contents")
    assert (report.converted, report.in_place) == (1, 1)
    assert await raw.contents() == {"content": (BLOCK, b"content"), "stream": (APPEND, b"content")}
    assert (await migrated(convert="all")).converted == 1


async def test_the_plan_says_what_cannot_be(raw: Raw, options: AzureBlobOptions) -> None:
    for name in ("/a", "b", "c"):
        await raw.append(name)
    await raw.put("d")
    for name in ("/a", "b", "d"):
        await raw.sdk.get_blob_client(name).create_snapshot()
    plan = await plan_migration(options)
    assert (plan.moves, plan.conversions, plan.in_place, plan.failed) == (0, 1, 1, 2)
    assert {(i.kind, i.name, i.dest, i.reason) for i in plan.incidents} == {
        ("failed", "/a", "a", "it has snapshots"),
        ("failed", "b", "", "it has snapshots"),
    }
    for convert in ("none", "contents"):
        report = await migrate(options, MigrationSettings(convert=convert))
        assert report.moved == 0
        assert not any(name == "a" for name in await raw.contents())
    assert (report.converted, report.failed) == (1, 2)


@pytest.mark.parametrize("name", ["a", "/a"])
async def test_an_md5_that_an_append_blob_was_made_with_says_nothing(
    raw: Raw, migrated: Migrate, name: str
) -> None:
    """Appending leaves it as it is."""
    stale = ContentSettings(content_md5=bytearray(hashlib.md5(b"").digest()))
    await raw.append(name, b"content", content_settings=stale)
    report = await migrated()
    assert (report.converted, report.is_complete) == (1, True)
    assert await raw.contents() == {"a": (BLOCK, b"content")}


async def test_the_plan_compares_with_what_is_in_a_backup(
    raw: Raw, options: AzureBlobOptions
) -> None:
    await raw.append("a", b"old")
    await raw.put("/a", b"another")

    async def crash(request: Any, send: Send) -> Any:
        raise Crash

    faults = Faults(Fault("crash", crash, on="Copy Blob"))
    with pytest.raises(BaseExceptionGroup):
        await migrate(
            options,
            MigrationSettings(from_root_directory="none"),
            wrap_transport=faults.wrap,
        )
    plan = await plan_migration(options)
    assert (plan.unfinished, plan.to_compare, plan.moves, plan.in_place) == (1, 1, 1, 0)
    report = await migrate(options)
    assert (report.finished, report.conflicts) == (1, 1)


class Crash(BaseException):
    """What no code of ours catches."""
