"""How does azdriver do at what the Go driver's own benchmark does, on Azurite?

Contents and streams of 0 bytes, 1 KiB and 1 MiB, list and delete of 5 and 50 blobs; one after
the other. The Go driver itself is not in the run: there is no toolchain and no Debian package
with its Azure driver here, see docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from anyio.from_thread import start_blocking_portal

from benchmarks.harness import Case, Session, Settings, arguments, session

__all__ = ["cases", "measure"]

PEERS = ("azdriver", "sdk", "obstore", "opendal", "adlfs")
SIZES = (0, 1024, 1024 * 1024)


def cases(settings: Settings) -> Sequence[Case]:
    found: list[Case] = []
    for size in SIZES if not settings.is_quick else (1024,):
        params = {"size": size, "count": settings.scale(100 if size < 1 << 20 else 30, 2)}
        found += [
            Case(workload="emulator_put_get", peers=PEERS, params=params),
            Case(workload="emulator_stream", peers=PEERS, params=params),
        ]
    for entries in (5, 50) if not settings.is_quick else (5,):
        found += [
            Case(
                workload="emulator_list",
                peers=PEERS,
                params={"entries": entries, "count": settings.scale(50, 2)},
            ),
            Case(
                workload="emulator_delete",
                peers=PEERS,
                params={"entries": entries, "count": settings.scale(10, 1)},
            ),
        ]
    return found


def measure(run: Session) -> None:
    from azure.core.exceptions import ResourceExistsError
    from azure.storage.blob import BlobServiceClient

    from azdriver.testing.azurite import azurite

    with start_blocking_portal() as portal:
        own = azurite(start_timeout=timedelta(seconds=60))
        with portal.wrap_async_context_manager(own) as server:
            with BlobServiceClient.from_connection_string(server.connection_string) as client:
                for peer in PEERS:  # some of them need it to be there
                    with suppress(ResourceExistsError):
                        client.create_container(f"bench-{peer}")
            run.run(cases(run.settings), endpoint=server.blob_endpoint)


if __name__ == "__main__":
    with session(arguments(__doc__)) as run:
        measure(run)
