"""The media types of manifests and layers that a registry has to know."""

from __future__ import annotations

from typing import Final

__all__ = [
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "IMAGES",
    "INDEXES",
    "MANIFESTS",
    "NOT_DISTRIBUTABLE",
    "OCI_INDEX",
    "OCI_MANIFEST",
]

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"

IMAGES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS: Final = IMAGES | INDEXES

# Layers that may be got from elsewhere alone.
NOT_DISTRIBUTABLE: Final = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)
