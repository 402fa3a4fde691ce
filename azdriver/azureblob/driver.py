"""The driver on Azure Blob Storage."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from azdriver.azureblob.blobs import file_info
from azdriver.azureblob.blockwriter import open_block_writer
from azdriver.azureblob.client import Clients, WrapTransport
from azdriver.azureblob.connectionstring import options_from_connection_string
from azdriver.azureblob.contents import get_content, put_content
from azdriver.azureblob.copying import move
from azdriver.azureblob.deleting import delete_tree
from azdriver.azureblob.environment import options_from_environment
from azdriver.azureblob.listing import Listing
from azdriver.azureblob.naming import BlobNames
from azdriver.azureblob.options import DRIVER_NAME, AzureBlobOptions
from azdriver.azureblob.parameters import options_from_parameters
from azdriver.azureblob.reader import BlobReader
from azdriver.azureblob.translate import translated
from azdriver.azureblob.urls import options_from_url
from azdriver.azureblob.writer import open_append_writer
from azdriver.base import BaseDriver
from azdriver.contract import FileInfo, FileWriter
from azdriver.errors import ContentTooLargeError, DriverStateError, PathNotFoundError
from azdriver.paths import ROOT, StoragePath
from azdriver.stats import DriverStats
from azdriver.tree import TreeSource
from azdriver.urls import DriverUrl

__all__ = ["AzureBlobDriver"]


class AzureBlobDriver(BaseDriver):
    """Stores contents as block blobs and streams as append blobs of one container.

    ``async with`` opens it, which creates the container where it does not exist. It may be
    shared by any number of tasks of one event loop; any number of drivers, in any number of
    processes, may work on one container.
    """

    def __init__(
        self,
        options: AzureBlobOptions,
        *,
        session: aiohttp.ClientSession | None = None,
        wrap_transport: WrapTransport | None = None,
    ) -> None:
        """
        Args:
            options: which container, and how to work there.
            session: your own session, which is left open; None for one of the driver's own.
            wrap_transport: puts something between the retry policy and the network, such as
                the faults of a test.
        """
        super().__init__(DRIVER_NAME, _service(options.account_url))
        self._options = options
        self._session = session
        self._wrap_transport = wrap_transport
        self._names = BlobNames(
            DRIVER_NAME, options.root_directory, legacy_root=options.legacy_root_prefix
        )
        self._opened: Clients | None = None

    def __repr__(self) -> str:
        return f"AzureBlobDriver({self._options!r})"

    @property
    def options(self) -> AzureBlobOptions:
        """What the driver was made with; secrets are not in its repr."""
        return self._options

    @classmethod
    def from_connection_string(cls, connection_string: str, container: str, **options: Any) -> Self:
        """A driver out of a storage account's connection string.

        Args:
            connection_string: as the portal shows it; ``UseDevelopmentStorage=true`` is Azurite.
            container: the container's name.
            **options: any other attribute of :class:`AzureBlobOptions`, and the keyword
                arguments of the constructor.

        Raises:
            ConfigurationError: naming what is missing or wrong.
        """
        own = {key: options.pop(key) for key in ("session", "wrap_transport") if key in options}
        return cls(options_from_connection_string(connection_string, container, **options), **own)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """A driver by the names that the container registry's configuration has.

        Args:
            parameters: ``container``, and either ``connectionstring`` or ``accountname`` with
                ``accountkey``, ``sastoken`` or ``credentials``; the others are optional.

        Raises:
            ConfigurationError: naming what is missing, unknown, contradictory or wrong.
        """
        return cls(options_from_parameters(parameters))

    @classmethod
    def from_url(
        cls, url: str | DriverUrl, *, environ: Mapping[str, str] | None = None, **own: Any
    ) -> Self:
        """A driver by ``azure://ACCOUNT/CONTAINER/ROOT?PARAMETER=VALUE&…``.

        The account may be left out (``azure:///CONTAINER``) and the root too. The query has the
        names of :meth:`from_parameters`; what is nested has a dot (``credentials.type=anonymous``).
        For Azurite, or a domain of your own, ``serviceurl`` has the endpoint.

        What the URL does not say of the account and the credential is looked for in the
        environment, in this order:

        1. ``AZURE_STORAGE_AUTH_MODE=login`` signs in by ``DefaultCredential``.
        2. ``AZURE_STORAGE_CONNECTION_STRING``: account, endpoint and credential.
        3. ``AZURE_STORAGE_KEY``, then ``AZURE_STORAGE_SAS_TOKEN``, with ``AZURE_STORAGE_ACCOUNT``
           and ``AZURE_STORAGE_SERVICE_ENDPOINT``.
        4. ``DefaultCredential``, unless ``AZURE_STORAGE_AUTH_MODE=key``. It reads
           ``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID``, ``AZURE_CLIENT_SECRET`` and others, out of the
           process's own environment.

        A credential of another account than the URL's is an error.

        Args:
            url: percent-encoded, where a plus is a plus.
            environ: the variables of the environment; None for those of the process.
            **own: keyword arguments of the constructor.

        Raises:
            ConfigurationError: naming what is missing, unknown, contradictory or wrong.
        """
        return cls(options_from_url(url, os.environ if environ is None else environ), **own)

    @classmethod
    def from_environment(
        cls, container: str, *, environ: Mapping[str, str] | None = None, **options: Any
    ) -> Self:
        """A driver on the account that the environment has, as :meth:`from_url` reads it.

        Args:
            container: the container's name.
            environ: the variables of the environment; None for those of the process.
            **options: as for :meth:`from_connection_string`.

        Raises:
            ConfigurationError: naming the variable or the option that is missing or wrong.
        """
        own = {key: options.pop(key) for key in ("session", "wrap_transport") if key in options}
        found = options_from_environment(
            {"container": container}, os.environ if environ is None else environ
        )
        return cls(replace(found, **options), **own)

    def stats(self) -> DriverStats:
        """What was done so far, with what went over the wire since the driver was opened."""
        stats = super().stats()
        if self._opened is None:
            return stats
        meter, regulator = self._opened.meter, self._opened.regulator
        return replace(
            stats,
            requests=dict(meter.requests),
            retries=meter.retries,
            throttled=meter.throttled,
            sent_bytes=meter.sent_bytes,
            received_bytes=meter.received_bytes,
            requests_in_flight=regulator.in_flight,
            requests_waiting=regulator.waiting,
            request_limit=int(regulator.limit),
        )

    @property
    def _clients(self) -> Clients:
        if self._opened is None:
            raise DriverStateError(DRIVER_NAME, "", "is not open: use it with 'async with'")
        return self._opened

    def _parse(self, path: str, *, root: bool = False) -> StoragePath:
        return self._names.parse(path, root=root)

    async def _open(self) -> None:
        self._opened = Clients(self._options, self._session, self._wrap_transport)
        with translated("", "open"):
            await self._clients.ensure_container()

    async def _close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def _get_content(self, path: StoragePath) -> bytes:
        with translated(path, "get_content"):
            return await get_content(self._clients, path, self._names.of(path))

    async def _put_content(
        self, path: StoragePath, content: memoryview, if_match: str | None, if_absent: bool
    ) -> FileInfo:
        limit = self._options.max_content_bytes
        if len(content) > limit:
            raise ContentTooLargeError(DRIVER_NAME, path, len(content), limit)
        with translated(path, "put_content"):
            return await put_content(
                self._clients, path, self._names.of(path), _as_bytes(content), if_match, if_absent
            )

    @asynccontextmanager
    async def _reader(
        self, path: StoragePath, offset: int, length: int | None
    ) -> AsyncIterator[BlobReader]:
        name = self._names.of(path)
        async with await BlobReader.open(self._clients, path, name, offset, length) as reader:
            yield reader

    @asynccontextmanager
    async def _writer(self, path: StoragePath, append: bool) -> AsyncIterator[FileWriter]:
        with translated(path, "writer"):
            open_writer = (
                open_block_writer if self._options.write_mode == "block" else open_append_writer
            )
            writer = await open_writer(self._clients, path, self._names.of(path), append=append)
        async with writer:
            yield writer

    async def _stat(self, path: StoragePath) -> FileInfo:
        listing = Listing(self._clients, self._names)
        with translated(path, "stat"):
            if path == ROOT:
                # Nothing depends on the answer; but a container that cannot be reached shows.
                await listing.exists_below(path)
                return FileInfo(path, is_dir=True)
            properties = await self._clients.lane.head(self._names.of(path))
            if properties is not None:
                return file_info(path, properties)
            if await listing.exists_below(path):
                return FileInfo(path, is_dir=True)
        raise PathNotFoundError(DRIVER_NAME, path)

    async def _list(self, path: StoragePath) -> Sequence[str]:
        return await Listing(self._clients, self._names).children(path)

    async def _move(self, source: StoragePath, dest: StoragePath) -> None:
        await move(self._clients, (source, self._names.of(source)), (dest, self._names.of(dest)))

    async def _delete(self, path: StoragePath) -> None:
        await delete_tree(self._clients, self._names, path)

    async def _url_for(self, path: StoragePath, expiry: datetime) -> str:
        with translated(path, "url_for"):
            return await self._clients.signer.url(path, self._names.of(path), expiry)

    def _tree(self) -> TreeSource:
        return Listing(self._clients, self._names)


def _service(account_url: str) -> dict[str, str | int]:
    """By https://opentelemetry.io/docs/specs/semconv/registry/attributes/azure/"""
    url = urlsplit(account_url)
    return {
        "server.address": url.hostname or "",
        "server.port": url.port or (443 if url.scheme == "https" else 80),
        "azure.resource_provider.namespace": "Microsoft.Storage",
    }


def _as_bytes(content: memoryview) -> bytes:
    """Without a copy where the caller gave ``bytes``: those cannot change while they are sent."""
    whole = content.obj
    if isinstance(whole, bytes) and len(whole) == len(content):
        return whole
    return bytes(content)
