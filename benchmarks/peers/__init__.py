"""Opens the peers: one interface over azdriver and what it is compared with.

A peer is used as its documentation tells a user to, not as its fastest expert would; where a
peer has a setting for what is asked (blocks in flight, ranges in flight), it is set. What is not
installed, or an option that azdriver does not have yet, is reported and left out.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version as installed_version
from typing import Final

from benchmarks.peers.base import Missing, Peer, Place, Tuning
from benchmarks.peers.others import Adlfs, Obstore, Opendal
from benchmarks.peers.ours import Azdriver, AzdriverBlock, AzdriverOneRange, AzdriverSdkLane
from benchmarks.peers.raw import Raw
from benchmarks.peers.sdk import Sdk, SdkStaged

__all__ = ["PEERS", "Azdriver", "Missing", "Peer", "Place", "Tuning", "open_peer", "peer_version"]

PEERS: Final[dict[str, type[Peer]]] = {
    "azdriver": Azdriver,
    "azdriver-block": AzdriverBlock,
    "azdriver-one-range": AzdriverOneRange,
    "azdriver-sdk-lane": AzdriverSdkLane,
    "sdk": Sdk,
    "sdk-staged": SdkStaged,
    "raw": Raw,
    "obstore": Obstore,
    "opendal": Opendal,
    "adlfs": Adlfs,
}


def peer_version(name: str) -> str:
    """The version of what the peer comes in.

    Raises:
        Missing: it is not installed, or lacks what the variant needs.
    """
    kind = PEERS[name]
    if issubclass(kind, Azdriver):
        place = Place(
            endpoint="http://127.0.0.1:1/a",
            account_name="a",
            account_key="YQ==",
            container="versions",
        )
        kind.make_options(place, Tuning(), dict(kind.options))
        return importlib.import_module("azdriver").__version__  # type: ignore[no-any-return]
    try:
        importlib.import_module(
            {"azure-storage-blob": "azure.storage.blob.aio"}.get(kind.module, kind.module)
        )
        return installed_version(kind.module)
    except ImportError as error:
        raise Missing(f"is not installed: {error}") from error


def open_peer(name: str, place: Place, tuning: Tuning) -> Peer:
    return PEERS[name](place, tuning)
