"""Where a registry keeps what: the paths of the Go registry, so that both can serve one container.

Only referrers are this registry's own, the media types that cannot be told from a manifest's bytes,
and the marks of garbage collection; the Go registry looks at none of them.
"""

from __future__ import annotations

from typing import Final

from oci_registry.names import Digest, RepositoryName, Tag

__all__ = [
    "BLOBS",
    "LAYERS",
    "MANIFESTS",
    "REPOSITORIES",
    "UPLOADS",
    "blob_condemned",
    "blob_data",
    "layer",
    "layer_link",
    "referrer",
    "referrer_link",
    "referrers",
    "referrers_by",
    "repository",
    "revision",
    "revision_condemned",
    "revision_link",
    "revision_media_type",
    "revisions",
    "tag",
    "tag_current_link",
    "tag_index_link",
    "tags",
    "upload",
    "upload_data",
    "upload_started",
    "upload_verified",
    "uploads",
]

_ROOT: Final = "/docker/registry/v2"
BLOBS: Final = f"{_ROOT}/blobs"
REPOSITORIES: Final = f"{_ROOT}/repositories"
# No component of a repository's name starts with an underscore: these end the name.
LAYERS: Final = "_layers"
MANIFESTS: Final = "_manifests"
UPLOADS: Final = "_uploads"


def blob_data(digest: Digest) -> str:
    """The bytes of a blob or manifest, once for all repositories."""
    return f"{BLOBS}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"


def blob_condemned(digest: Digest) -> str:
    """The mark by which garbage collection and pushes agree about a blob."""
    return f"{BLOBS}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/condemned"


def repository(name: RepositoryName) -> str:
    """The directory of a repository, and of those whose names go on with a slash."""
    return f"{REPOSITORIES}/{name}"


def layer(name: RepositoryName, digest: Digest) -> str:
    """The directory of a blob in a repository."""
    return f"{repository(name)}/{LAYERS}/{digest.algorithm}/{digest.hex}"


def layer_link(name: RepositoryName, digest: Digest) -> str:
    """What makes a blob visible in a repository; it holds the digest."""
    return f"{layer(name, digest)}/link"


def revisions(name: RepositoryName) -> str:
    """The directory of all manifests of a repository."""
    return f"{repository(name)}/{MANIFESTS}/revisions"


def revision(name: RepositoryName, digest: Digest) -> str:
    """The directory of a manifest in a repository."""
    return f"{revisions(name)}/{digest.algorithm}/{digest.hex}"


def revision_link(name: RepositoryName, digest: Digest) -> str:
    """What makes a manifest visible in a repository; it holds the digest."""
    return f"{revision(name, digest)}/link"


def revision_media_type(name: RepositoryName, digest: Digest) -> str:
    """The media type that a manifest was pushed with, where its bytes do not tell."""
    return f"{revision(name, digest)}/mediatype"


def revision_condemned(name: RepositoryName, digest: Digest) -> str:
    """The same mark for a manifest; not in its directory, which goes before the mark does."""
    return f"{repository(name)}/{MANIFESTS}/condemned/{digest.algorithm}/{digest.hex}"


def tags(name: RepositoryName) -> str:
    """The directory of all tags of a repository."""
    return f"{repository(name)}/{MANIFESTS}/tags"


def tag(name: RepositoryName, tag: Tag) -> str:
    """The directory of a tag."""
    return f"{tags(name)}/{tag}"


def tag_current_link(name: RepositoryName, tag: Tag) -> str:
    """The digest that a tag points to."""
    return f"{tags(name)}/{tag}/current/link"


def tag_index_link(name: RepositoryName, tag: Tag, digest: Digest) -> str:
    """A digest that the tag points to, or did."""
    return f"{tags(name)}/{tag}/index/{digest.algorithm}/{digest.hex}/link"


def referrers_by(name: RepositoryName, algorithm: str) -> str:
    """The directory of all subjects with digests of one algorithm."""
    return f"{repository(name)}/{MANIFESTS}/referrers/{algorithm}"


def referrers(name: RepositoryName, subject: Digest) -> str:
    """The directory of the manifests that refer to a subject."""
    return f"{referrers_by(name, subject.algorithm)}/{subject.hex}"


def referrer(name: RepositoryName, subject: Digest, digest: Digest) -> str:
    """The directory of one referrer."""
    return f"{referrers(name, subject)}/{digest.algorithm}/{digest.hex}"


def referrer_link(name: RepositoryName, subject: Digest, digest: Digest) -> str:
    """One referrer; it holds its descriptor. One content each, so that pushes never race."""
    return f"{referrer(name, subject, digest)}/link"


def uploads(name: RepositoryName) -> str:
    """The directory of all uploads of a repository."""
    return f"{repository(name)}/{UPLOADS}"


def upload(name: RepositoryName, identifier: str) -> str:
    """The directory of an upload."""
    return f"{uploads(name)}/{identifier}"


def upload_data(name: RepositoryName, identifier: str) -> str:
    """What was uploaded until now."""
    return f"{upload(name, identifier)}/data"


def upload_started(name: RepositoryName, identifier: str) -> str:
    """When the upload began; as long as this is there, it is known."""
    return f"{upload(name, identifier)}/startedat"


def upload_verified(name: RepositoryName, identifier: str, attempt: str) -> str:
    """What is about to become a blob, where no other request looks for it."""
    # Not the attempt alone: the Go registry takes what looks like an UUID for an upload.
    return f"{upload(name, identifier)}/verified-{attempt}"
