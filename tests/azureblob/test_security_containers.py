"""What must not happen: a container reached that is not the driver's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import pytest
from azure.storage.blob.aio import ContainerClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from azdriver import AzureBlobDriver, AzureBlobOptions, InvalidPathError, StorageDriverError
from azdriver.azureblob import RetrySettings, SasToken
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.proxy import FaultProxy, fault_proxy
from azdriver.testing.recording import RecordedRequest, RecordingTransport
from bad_paths import invalid_paths, valid_paths
from contract_calls import OPERATIONS
from shown_secrets import account_sas, container_sas

FAST = RetrySettings(retries=1, first_delay_seconds=0.01)

SIGNERS = {"container SAS": container_sas, "account SAS": account_sas}
BAIT = {"secret": b"bait", "a/secret": b"bait as well", "/a": b"with its slash"}


class Bait:
    """A second container in the same account, which nobody may touch."""

    def __init__(self, client: ContainerClient) -> None:
        self.client = client
        self.name = client.container_name

    async def blobs(self) -> dict[str, tuple[bytes, Any]]:
        """What is in it, with the versions: an overwrite with the same bytes would show too."""
        return {
            blob.name: (await (await self.client.download_blob(blob.name)).readall(), blob.etag)
            async for blob in self.client.list_blobs()
        }


@pytest.fixture
async def bait(azurite_server: AzuriteServer, container: str) -> AsyncIterator[Bait]:
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, f"{container}-bait"[-63:].strip("-")
    ) as client:
        await client.create_container()
        for name, content in BAIT.items():
            await client.upload_blob(name, content)
        yield Bait(client)


@pytest.fixture(params=SIGNERS)
async def on_the_wire(
    request: pytest.FixtureRequest,
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
) -> AsyncIterator[tuple[AzureBlobDriver, list[RecordedRequest], FaultProxy]]:
    """A driver by a SAS, its requests as it sends them and as they pass on the wire.

    The URL library is between the two: it is the one that folds dot segments.
    """
    requests: list[RecordedRequest] = []
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        options = AzureBlobOptions(
            account_url=proxy.endpoint,
            container=container,
            credential=SasToken(SIGNERS[request.param](azurite_server, container)),
            retry=FAST,
        )
        async with AzureBlobDriver(
            options, wrap_transport=lambda inner: RecordingTransport(inner, requests)
        ) as limited:
            yield limited, requests, proxy


def fold(path: str) -> str:
    """As URL libraries do, and servers may."""
    folded: list[str] = []
    for segment in unquote(unquote(path)).replace("\\", "/").split("/"):
        if segment == "..":
            del folded[-1:]
        elif segment != ".":
            folded.append(segment)
    return "/".join(folded)


def baiting_paths(bait: str) -> st.SearchStrategy[str]:
    """Valid and invalid ones, many of which lead to the bait once somebody folds them."""
    up = st.sampled_from(
        [
            "..",
            "%2e%2e",
            "%2E%2E",
            ".%2e",
            "..%2f..",
            "..\\..",
            ".",
            "...",
            "..;",
            "",
            "a/..",
            "..%00",
        ]
    )
    between = st.sampled_from(["/", "//", "\\", "%2f", "%5c", "/./"])
    ends = st.sampled_from([bait, f"{bait}/secret", f"{bait}/a/secret", f"{bait}//a", "secret"])
    astray = st.builds(
        lambda prefix, ups, slash, end: prefix + slash + slash.join([*ups, end]),
        st.sampled_from(["", "/a", "/a/b", "."]),
        st.lists(up, max_size=4),
        between,
        ends,
    )
    urls = st.sampled_from(
        [f"/devstoreaccount1/{bait}/secret", f"http://127.0.0.1/devstoreaccount1/{bait}/secret"]
    )
    return st.one_of(astray, astray, invalid_paths(), valid_paths, urls)


async def test_no_path_reaches_another_container(
    on_the_wire: tuple[AzureBlobDriver, list[RecordedRequest], FaultProxy],
    container: str,
    bait: Bait,
) -> None:
    limited, requests, proxy = on_the_wire
    before = await bait.blobs()
    outcomes = {"done": 0, "refused": 0}
    own = f"/devstoreaccount1/{container}"

    @settings(max_examples=600, deadline=None, database=None)
    @given(baiting_paths(bait.name), st.sampled_from(sorted(OPERATIONS)))
    @example(f"/../{bait.name}/secret", "get_content")
    @example(f"/{bait.name}/secret", "get_content")
    @example(f"/.../{bait.name}/secret", "put_content")
    def collect(path: str, operation: str) -> None:
        calls.append((path, operation))

    calls: list[tuple[str, str]] = []
    collect()
    for path, operation in calls:
        requests.clear()
        proxy.request_lines.clear()
        try:
            result = await OPERATIONS[operation](limited, path)
        except InvalidPathError:
            outcomes["refused"] += 1
            assert requests == []
            assert proxy.request_lines == []
            continue
        except StorageDriverError:
            result = None
        outcomes["done"] += 1
        assert result not in BAIT.values()
        for sent in [request.path for request in requests]:
            assert fold(sent) == own or fold(sent).startswith(own + "/"), (path, operation)
        for _, sent in proxy.request_lines:
            assert fold(sent) == own or fold(sent).startswith(own + "/"), (path, operation)
    assert await bait.blobs() == before
    # Both kinds of paths were really tried.
    assert outcomes["done"] > 20
    assert outcomes["refused"] > 20


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_operation_keeps_to_its_container(
    on_the_wire: tuple[AzureBlobDriver, list[RecordedRequest], FaultProxy],
    container: str,
    bait: Bait,
    operation: str,
) -> None:
    """On paths that have the bait's very names, in both layouts' spelling."""
    limited, requests, proxy = on_the_wire
    before = await bait.blobs()
    proxy.request_lines.clear()
    for path in ("/secret", "/a/secret", f"/{bait.name}/secret", "/.../secret"):
        with suppress(StorageDriverError):
            assert await OPERATIONS[operation](limited, path) not in BAIT.values()
    own = f"/devstoreaccount1/{container}"
    for sent in [r.path for r in requests] + [sent for _, sent in proxy.request_lines]:
        assert fold(sent) == own or fold(sent).startswith(own + "/")
    assert await bait.blobs() == before


async def test_the_danger_is_real(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, bait: Bait
) -> None:
    """The same names by the SDK alone do reach the bait: the checks above can fail."""
    async with (
        fault_proxy(azurite_server.blob_endpoint) as proxy,
        ContainerClient(proxy.endpoint, container, credential=account_sas(azurite_server)) as sdk,
    ):
        stream = await sdk.download_blob(f"../{bait.name}/secret")
        assert await stream.readall() == b"bait"
        [(_, sent), *_] = proxy.request_lines
        assert not fold(sent).startswith(f"/devstoreaccount1/{container}/")
