"""Containers as old drivers left them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from azure.storage.blob.aio import ContainerClient

from azdriver.azureblob import AzureBlobOptions, RetrySettings
from azdriver.azureblob.connectionstring import options_from_connection_string
from azdriver.azureblob.migration import MigrationReport, MigrationSettings, migrate
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults


@dataclass(frozen=True)
class Raw:
    """The container by the SDK itself, past the driver."""

    sdk: ContainerClient

    async def put(self, name: str, content: bytes = b"content", **arguments: Any) -> None:
        """A block blob."""
        await self.sdk.upload_blob(name, content, overwrite=True, **arguments)

    async def append(self, name: str, content: bytes = b"content", **arguments: Any) -> None:
        """An append blob."""
        blob = self.sdk.get_blob_client(name)
        await blob.create_append_blob(**arguments)
        for start in range(0, len(content), 1_000_000):
            await blob.append_block(content[start : start + 1_000_000])

    async def contents(self) -> dict[str, tuple[str, bytes]]:
        """Type and content of every blob, by name."""
        found = {}
        async for blob in self.sdk.list_blobs():
            content = await (await self.sdk.download_blob(blob.name)).readall()
            found[blob.name] = (str(blob.blob_type.value), content)
        return found

    async def properties(self, name: str) -> Any:
        return await self.sdk.get_blob_client(name).get_blob_properties()


Migrate: TypeAlias = Callable[..., Any]


@pytest.fixture
async def raw(azurite_server: AzuriteServer, container: str) -> AsyncIterator[Raw]:
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        await client.create_container()
        yield Raw(client)


@pytest.fixture
def options(azurite_server: AzuriteServer, container: str) -> AzureBlobOptions:
    return options_of(azurite_server, container)


def options_of(server: AzuriteServer, container: str, **options: Any) -> AzureBlobOptions:
    return options_from_connection_string(
        server.connection_string,
        container,
        **{
            "retry": RetrySettings(retries=3, first_delay_seconds=0.01),
            "copy_poll_seconds": 0.01,
            **options,
        },
    )


@pytest.fixture
def migrated(azurite_server: AzuriteServer, container: str) -> Migrate:
    """Run a migration: with faults, and with the options and settings of either."""

    async def run(
        *faults: Fault, root_directory: str = "", legacy_root_prefix: bool = False, **settings: Any
    ) -> MigrationReport:
        return await migrate(
            options_of(
                azurite_server,
                container,
                root_directory=root_directory,
                legacy_root_prefix=legacy_root_prefix,
            ),
            MigrationSettings(**settings),
            wrap_transport=Faults(*faults).wrap,
        )

    return run
