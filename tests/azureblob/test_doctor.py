"""What the doctor finds in containers, accounts and credentials; and that it changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from azure.storage.blob.aio import ContainerClient

from azdriver import AzureBlobDriver
from azdriver.azureblob import (
    Anonymous,
    AzureBlobOptions,
    RetrySettings,
    SasToken,
    SharedKey,
)
from azdriver.azureblob.doctor import Diagnosis, examine
from azdriver.azureblob.migration.backups import backup_name
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import CannedResponse, Fault, Faults, Send, answer, refuse
from azdriver.testing.recording import RecordedRequest, RecordingTransport
from azdriver.testing.tokens import LocalCredential

REGISTRY = "docker/registry/v2"
QUICK = RetrySettings(retries=0, first_delay_seconds=0.01)


@pytest.fixture
def options(azurite_server: AzuriteServer, container: str) -> Callable[..., AzureBlobOptions]:
    def make(**other: Any) -> AzureBlobOptions:
        own: dict[str, Any] = {
            "account_url": azurite_server.blob_endpoint,
            "container": container,
            "credential": SharedKey(azurite_server.account_name, azurite_server.account_key),
            "retry": QUICK,
        }
        return AzureBlobOptions(**{**own, **other})

    return make


@pytest.fixture
def sas(azurite_server: AzuriteServer, container: str) -> Callable[..., SasToken]:
    def make(**permissions: bool) -> SasToken:
        return SasToken(
            generate_container_sas(
                azurite_server.account_name,
                container,
                account_key=azurite_server.account_key,
                permission=ContainerSasPermissions(**permissions),
                expiry=datetime.now(UTC) + timedelta(days=3),
            )
        )

    return make


def codes(diagnosis: Diagnosis, severity: str | None = None) -> list[str]:
    return [
        finding.code
        for finding in diagnosis.findings
        if severity is None or finding.severity == severity
    ]


def advice(diagnosis: Diagnosis, code: str) -> str:
    return next(finding.advice for finding in diagnosis.findings if finding.code == code)


async def append(sdk: ContainerClient, name: str, content: bytes = b"x", **more: Any) -> None:
    blob = sdk.get_blob_client(name)
    await blob.create_append_blob(**more)
    await blob.append_block(content)


async def plant_backup(sdk: ContainerClient, name: str) -> None:
    """As a migration leaves it that is killed when it has deleted the blob."""
    metadata = {"azdriver_migrated_name": name, "azdriver_write_id": "migrated-name-etag-1"}
    await sdk.upload_blob(backup_name(name), b"x", metadata=metadata)


async def test_an_empty_container_is_healthy_and_left_as_it_is(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    diagnosis = await examine(options())
    assert diagnosis.is_healthy
    assert codes(diagnosis) == ["emulator", "empty"]
    assert diagnosis.credential == "SharedKey"
    assert set(diagnosis.may.values()) == {"yes"}
    assert diagnosis.clock_skew_seconds is not None
    assert abs(diagnosis.clock_skew_seconds) < 30
    assert [name async for name in sdk.list_blob_names()] == []


async def test_a_registry_of_2016_is_known(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    await append(sdk, f"/{REGISTRY}/repositories/alpine/_manifests/tags/latest/current/link")
    await append(sdk, f"/{REGISTRY}/repositories/alpine/_uploads/1/startedat")
    await append(sdk, f"/{REGISTRY}/repositories/alpine/_uploads/1/data")
    await append(sdk, f"/{REGISTRY}/blobs/sha256/ab/abcd/data")
    diagnosis = await examine(options())
    assert codes(diagnosis, "error") == ["layout-other"]
    assert diagnosis.recommended == {"legacyrootprefix": True}
    assert "azdriver migrate" in advice(diagnosis, "layout-other")
    assert (diagnosis.counts.legacy_contents, diagnosis.counts.streams) == (2, 2)
    assert diagnosis.counts.examples["streams"] == (
        f"/{REGISTRY}/blobs/sha256/ab/abcd/data",
        f"/{REGISTRY}/repositories/alpine/_uploads/1/data",
    )
    (layout,) = diagnosis.layouts
    assert (layout.legacy_root_prefix, layout.registry, layout.blobs) == (True, True, 4)

    right = await examine(options(legacy_root_prefix=True))
    assert codes(right, "error") == []
    assert right.recommended == {}
    assert "legacy-contents" in codes(right, "warning")


@pytest.mark.parametrize(
    ("names", "root", "legacy", "code", "recommended"),
    [
        (["a/b", "c"], "", False, None, {}),
        (["/a/b"], "", True, None, {}),
        (["a/b"], "", True, "layout-other", {"legacyrootprefix": False}),
        ([f"old/{REGISTRY}/x"], "", False, "root-directory-other", {"rootdirectory": "old"}),
        ([f"{REGISTRY}/x"], "old", False, "root-directory-other", {"rootdirectory": ""}),
        ([f"a/b/{REGISTRY}/x"], "/a/b/", False, None, {}),
        (
            [f"/a/b/{REGISTRY}/x", "readme"],
            "",
            False,
            "layout-other",
            {"legacyrootprefix": True, "rootdirectory": "a/b"},
        ),
        (["a/b"], "other", False, "root-directory-other", {}),
        (["a/b"], "", False, "root-directory-possible", {}),
        (["a/b", "c"], "other", False, "empty", {}),
        (["a/b", "/a/b"], "", False, "layouts-mixed", {}),
        (["r/a", "/b"], "r", False, None, {}),
        ([f"{REGISTRY}/x", f"/{REGISTRY}/x"], "", False, "layouts-mixed", {}),
    ],
)
async def test_the_layout_is_compared_with_what_is_set(
    sdk: ContainerClient,
    options: Callable[..., AzureBlobOptions],
    names: list[str],
    root: str,
    legacy: bool,
    code: str | None,
    recommended: dict[str, Any],
) -> None:
    for name in names:
        await sdk.upload_blob(name, b"x")
    diagnosis = await examine(options(root_directory=root, legacy_root_prefix=legacy))
    if code is None:
        assert codes(diagnosis, "error") == codes(diagnosis, "warning") == []
    else:
        assert code in codes(diagnosis)
    assert diagnosis.recommended == recommended


async def test_of_several_registries_the_largest_is_recommended(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    for name in ("a/{}/x", "m/{}/x", "m/{}/y", "m/{}/z", "z/{}/x", "z/{}/y"):
        await sdk.upload_blob(name.format(REGISTRY), b"x")
    diagnosis = await examine(options())
    assert [layout.root_directory for layout in diagnosis.layouts] == ["m", "z", "a"]
    assert diagnosis.recommended == {"rootdirectory": "m"}
    assert advice(diagnosis, "root-directory-other") == "set rootdirectory: m"
    # Any of them may be meant.
    assert (await examine(options(root_directory="a"))).is_healthy


async def test_registries_of_other_drivers_are_told_and_left(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    for root in ("r/", "/s/", "t/", "/t/", ""):
        await sdk.upload_blob(f"{root}{REGISTRY}/x", b"x")
    diagnosis = await examine(options(root_directory="r"))
    assert codes(diagnosis, "error") == codes(diagnosis, "warning") == []
    (told,) = (finding for finding in diagnosis.findings if finding.code == "registries-other")
    assert told.text == (
        "there are registries with other root directories (none, s, t), for other drivers"
    )
    # Where none is in the root directory that is set, any of them may be meant.
    assert "registries-other" not in codes(await examine(options(root_directory="x")))


async def test_what_a_migration_would_move_along_is_told(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    for root in ("r", "", "/s"):
        await sdk.upload_blob(f"{root}/{REGISTRY}/x", b"x")
    diagnosis = await examine(options(root_directory="r"))
    assert advice(diagnosis, "layouts-mixed") == (
        "to have all of them in one layout, first migrate the registries below s, each with its "
        "own rootdirectory, or they are moved along; then run 'azdriver migrate --from-root \"\"'"
    )


async def test_what_stands_in_the_way_is_found(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    for name in ("leased", "shot", "a b", "~azdriver-migration/0"):
        await sdk.upload_blob(name, b"x")
    await plant_backup(sdk, "was/converted")
    await sdk.get_blob_client("leased").acquire_lease()
    await sdk.get_blob_client("shot").create_snapshot()
    await sdk.get_blob_client("begun").stage_block("AAAA", b"x")
    await sdk.get_blob_client("page").create_page_blob(512)
    await append(sdk, "ours", metadata={"azdriver_write_id": "0"})
    diagnosis = await examine(options())
    assert codes(diagnosis, "error") == ["migration-unfinished"]
    assert set(codes(diagnosis, "warning")) == {"leased", "snapshots", "page-blobs"}
    assert {"streams", "uncommitted", "no-paths"} <= set(codes(diagnosis, "info"))
    counts = diagnosis.counts
    assert (counts.blobs, counts.legacy_contents, counts.streams) == (4, 0, 1)
    assert (counts.backups, counts.no_paths) == (1, 2)  # another's blob is no backup
    assert counts.types == {"BlockBlob": 2, "PageBlob": 1, "AppendBlob": 1}


async def test_a_sample_misses_no_layout_and_the_whole_no_blob(
    sdk: ContainerClient,
    options: Callable[..., AzureBlobOptions],
    azurite_server: AzuriteServer,
    plant: Callable[..., None],
    container: str,
) -> None:
    names = [f"/{REGISTRY}/blobs/{number:04}" for number in range(1050)]
    names += [f"/{REGISTRY}/repositories/x", f"{REGISTRY}/x", "zzz/last"]
    await asyncio.to_thread(plant, container, names)
    requests: list[RecordedRequest] = []
    sample = await examine(
        options(), wrap_transport=lambda inner: RecordingTransport(inner, requests)
    )
    assert not sample.counts.is_whole
    assert sample.counts.blobs == 1003
    assert {(one.legacy_root_prefix, one.registry) for one in sample.layouts} == {
        (True, True),
        (False, True),
        (False, False),
    }
    assert "sample" in codes(sample)
    assert len(requests) < 30
    whole = await examine(options(), whole=True)
    assert whole.counts.is_whole
    assert whole.counts.blobs == 1053


async def test_what_tells_most_is_in_every_sample(
    azurite_server: AzuriteServer,
    options: Callable[..., AzureBlobOptions],
    plant: Callable[..., None],
    container: str,
) -> None:
    """However many names come before: they fill the first page, and that of the directories."""
    names = [f"-{number:04}/x" for number in range(1050)]
    names += [f"/{REGISTRY}/x", f"{REGISTRY}/x", "/y/app/x", "y/app/x"]
    await asyncio.to_thread(plant, container, names)
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as sdk:
        await plant_backup(sdk, "was/converted")
    sample = await examine(options())
    assert not sample.counts.is_whole
    assert sample.counts.blobs < 1050
    assert sample.counts.backups == 1
    both = {True, False}
    assert {one.legacy_root_prefix for one in sample.layouts if one.registry} == both
    # So is the root directory that is set, in both layouts.
    sample = await examine(options(root_directory="y/app"))
    found = {one.legacy_root_prefix for one in sample.layouts if one.root_directory == "y/app"}
    assert found == both


async def test_a_container_that_is_missing_is_not_created(
    azurite_server: AzuriteServer, container: str, options: Callable[..., AzureBlobOptions]
) -> None:
    diagnosis = await examine(options())
    assert codes(diagnosis, "error") == ["container-missing"]
    assert diagnosis.may["create_container"] == "unknown"
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        assert not await client.exists()


async def test_an_endpoint_without_an_answer_is_asked_once(
    options: Callable[..., AzureBlobOptions],
) -> None:
    fault = refuse(times=None)
    diagnosis = await examine(options(), wrap_transport=Faults(fault).wrap)
    assert codes(diagnosis, "error") == ["no-answer"]
    assert fault.struck == 1
    assert set(diagnosis.may.values()) <= {"unknown"}


async def test_a_sas_token_that_may_read_only(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions], sas: Callable[..., SasToken]
) -> None:
    await sdk.upload_blob("a", b"x")
    token = sas(read=True, list=True)
    diagnosis = await examine(options(credential=token))
    assert diagnosis.is_healthy
    assert {name: may for name, may in diagnosis.may.items() if may != "unknown"} == {
        "read": "yes",
        "list": "yes",
        "write": "no",
        "append": "no",
        "delete": "no",
        "tags": "no",
        "create_container": "no",
        "sign": "no",
    }
    assert set(codes(diagnosis, "warning")) >= {
        "may-not-write",
        "may-not-append",
        "may-not-delete",
        "sas-ends",
    }
    assert advice(diagnosis, "may-not-delete") == "make the SAS token with the permission d"
    signature = token.token.partition("sig=")[2].partition("&")[0]
    assert signature not in json.dumps(diagnosis.to_dict()) + repr(diagnosis)


async def test_a_sas_token_that_may_not_list_and_one_that_has_ended(
    sdk: ContainerClient,
    options: Callable[..., AzureBlobOptions],
    sas: Callable[..., SasToken],
    azurite_server: AzuriteServer,
    container: str,
) -> None:
    diagnosis = await examine(options(credential=sas(read=True)))
    assert codes(diagnosis, "error") == ["may-not-list"]
    ended = generate_container_sas(
        azurite_server.account_name,
        container,
        account_key=azurite_server.account_key,
        permission="rl",
        expiry=datetime.now(UTC) - timedelta(days=1),
    )
    diagnosis = await examine(options(credential=SasToken(ended)))
    assert "sas-ended" in codes(diagnosis, "error")
    assert not diagnosis.is_healthy


async def test_an_anonymous_caller(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    diagnosis = await examine(options(credential=Anonymous()))
    assert {"may-not-read", "may-not-list"} <= set(codes(diagnosis, "error"))
    await sdk.set_container_access_policy(signed_identifiers={}, public_access="container")
    diagnosis = await examine(options(credential=Anonymous()))
    assert diagnosis.may["read"] == diagnosis.may["list"] == "yes"
    assert diagnosis.may["write"] == "no"
    assert diagnosis.is_healthy


@pytest.mark.parametrize(
    ("ahead", "severity"), [(0, None), (300, "warning"), (-300, "warning"), (3600, "error")]
)
async def test_the_clock_is_compared(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions], ahead: int, severity: str | None
) -> None:
    async def other_clock(request: Any, send: Send) -> Any:
        response = await send()
        there = datetime.now(UTC) + timedelta(seconds=ahead)
        response.headers["Date"] = format_datetime(there, usegmt=True)
        return response

    faults = Faults(Fault("clock", other_clock, times=None))
    diagnosis = await examine(options(), wrap_transport=faults.wrap)
    assert diagnosis.clock_skew_seconds == pytest.approx(ahead, abs=30)
    found = [finding for finding in diagnosis.findings if finding.code == "clock-skew"]
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    if ahead:
        assert ("behind" if ahead > 0 else "ahead of") in found[0].text


async def test_what_the_account_has_switched_on(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    """Azurite has none of these: the answers are the service's, as it documents them."""
    await sdk.upload_blob("a", b"x")

    def with_headers(**headers: str) -> Any:
        async def play(request: Any, send: Send) -> Any:
            response = await send()
            for name, value in headers.items():
                response.headers[name.replace("_", "-")] = value
            return response

        return play

    async def service(request: Any, send: Send) -> Any:
        body = (
            b'<?xml version="1.0" encoding="utf-8"?><StorageServiceProperties>'
            b"<DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days></DeleteRetentionPolicy>"
            b"</StorageServiceProperties>"
        )
        return CannedResponse(request, 200, body=body)

    faults = Faults(
        Fault(
            "hns",
            with_headers(x_ms_is_hns_enabled="true"),
            on="Get Account Information",
        ),
        Fault("soft delete", service, on="Get Blob Service Properties"),
        Fault(
            "policy",
            with_headers(x_ms_has_immutability_policy="true", x_ms_blob_public_access="blob"),
            on="Get Container Properties",
        ),
        Fault(
            "versions",
            with_headers(x_ms_version_id="2026-01-01T00:00:00.0000000Z"),
            on="Get Blob Properties",
            times=None,
        ),
    )
    diagnosis = await examine(options(), wrap_transport=faults.wrap)
    assert codes(diagnosis, "error") == ["hierarchical-namespace"]
    assert set(codes(diagnosis, "warning")) == {"immutability", "public"}
    assert {"soft-delete", "versioning"} <= set(codes(diagnosis, "info"))
    assert diagnosis.features["soft_delete_days"] == 7
    assert diagnosis.features["versioning"] is True


async def test_what_may_not_be_asked_is_unknown(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions]
) -> None:
    await sdk.upload_blob("a", b"x")
    refused = [
        answer(403, "AuthorizationPermissionMismatch", on=operation, times=None)
        for operation in (
            "Get Container Properties",
            "Get Account Information",
            "Get Blob Service Properties",
        )
    ]
    diagnosis = await examine(options(), wrap_transport=Faults(*refused).wrap)
    assert codes(diagnosis, "warning") == ["container-not-asked"]
    assert "soft_delete_days" not in diagnosis.features
    assert diagnosis.may["list"] == "yes"
    assert diagnosis.counts.blobs == 1
    assert diagnosis.is_healthy


async def test_a_token_credential_without_the_roles(
    azurite_with_tokens: AzuriteServer, container: str, trusted_certificate: tuple[Path, Path]
) -> None:
    options = AzureBlobOptions(
        account_url=azurite_with_tokens.blob_endpoint,
        container=container,
        credential=LocalCredential(),
        verify_tls=False,
        retry=QUICK,
    )
    async with AzureBlobDriver(options):
        pass  # which creates the container
    assert (await examine(options)).may["sign"] == "yes"
    faults = [
        answer(403, "AuthorizationPermissionMismatch", on=operation, times=None)
        for operation in ("Put Blob", "Append Block", "Delete Blob", "Get User Delegation Key")
    ]
    diagnosis = await examine(options, wrap_transport=Faults(*faults).wrap)
    assert diagnosis.credential == "token credential (LocalCredential)"
    assert advice(diagnosis, "may-not-write") == "grant the role Storage Blob Data Contributor"
    assert "Storage Blob Delegator" in advice(diagnosis, "may-not-sign")


async def test_a_credential_without_a_token(
    options: Callable[..., AzureBlobOptions],
) -> None:
    class NoCredential:
        async def get_token(self, *scopes: str, **kwargs: Any) -> Any:
            raise RuntimeError("secret")

    diagnosis = await examine(options(account_url="https://localhost:1", credential=NoCredential()))
    assert codes(diagnosis, "error") == ["no-answer"]
    assert "no token from NoCredential" in diagnosis.findings[0].text
    assert "secret" not in json.dumps(diagnosis.to_dict())


async def test_a_diagnosis_is_json(
    sdk: ContainerClient, options: Callable[..., AzureBlobOptions], azurite_server: AzuriteServer
) -> None:
    await sdk.upload_blob("/a", b"x")
    diagnosis = await examine(options())
    text = json.dumps(diagnosis.to_dict())
    assert azurite_server.account_key not in text
    assert json.loads(text)["layouts"][0]["legacy_root_prefix"] is True
    # Nothing was changed, and nothing is left behind.
    assert [name async for name in sdk.list_blob_names()] == ["/a"]
