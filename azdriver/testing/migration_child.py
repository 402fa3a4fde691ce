"""A migration in a process of its own, that may be killed at any moment."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection
from typing import Any

from azure.core.pipeline.transport import AsyncHttpTransport

from azdriver.azureblob.connectionstring import options_from_connection_string
from azdriver.azureblob.migration import MigrationSettings, migrate
from azdriver.testing.recording import TransportWrapper, operation_of

__all__ = ["run_migration"]


class _Notes(TransportWrapper):
    """Says which request begins, so that all can be read after this process was killed."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any], notes: Connection) -> None:
        super().__init__(inner)
        self._notes = notes

    async def send(self, request: Any, **options: Any) -> Any:
        self._notes.send(operation_of(request))
        return await super().send(request, **options)


def run_migration(
    connection_string: str, container: str, settings: MigrationSettings, notes: Connection
) -> None:
    """Migrate, to the end.

    Args:
        connection_string: the account.
        container: the container, whose blobs get today's names.
        settings: of the migration.
        notes: is sent the operation of each request before it is sent, and at the end the report.
    """
    asyncio.run(_run(connection_string, container, settings, notes), debug=False)


async def _run(
    connection_string: str, container: str, settings: MigrationSettings, notes: Connection
) -> None:
    report = await migrate(
        options_from_connection_string(connection_string, container),
        settings,
        wrap_transport=lambda inner: _Notes(inner, notes),
    )
    notes.send(report)
