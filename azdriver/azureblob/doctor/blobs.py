"""What is to be known of the blobs, and of what the account does with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from azdriver.azureblob.doctor.advising import Steps
from azdriver.azureblob.doctor.diagnosis import BlobCounts, Finding
from azdriver.azureblob.doctor.wording import some

__all__ = ["about_blobs", "about_features"]


def about_features(features: Mapping[str, str | int | bool | None]) -> Iterator[Finding]:
    """What of the account and the container is in the way, or costs."""
    if features.get("hierarchical_namespace"):
        yield Finding(
            "error",
            "hierarchical-namespace",
            "the account has a hierarchical namespace (Data Lake Storage Gen2)",
            "use an account without: its listings have another order, and directories are blobs",
        )
    if features.get("immutability"):
        yield Finding(
            "warning",
            "immutability",
            "the container has an immutability policy or a legal hold",
            "blobs cannot be overwritten, moved or deleted while it holds",
        )
    if features.get("soft_delete_days"):
        yield Finding(
            "info",
            "soft-delete",
            f"deleted and overwritten blobs are kept, and paid for, for "
            f"{features['soft_delete_days']} days",
        )
    if features.get("versioning"):
        yield Finding(
            "info",
            "versioning",
            "each overwritten or deleted blob is kept as a version, and paid for",
        )
    if features.get("public_access") not in (None, "off"):
        yield Finding(
            "warning",
            "public",
            f"anyone can read the container (access level {features['public_access']!r})",
            "switch it off, unless this is meant",
        )


def about_blobs(counts: BlobCounts, migration: Steps, conversion: Steps) -> Iterator[Finding]:
    """What kinds of blobs there are, and what stands in the way of some.

    Args:
        counts: of blobs.
        migration: what finishes one.
        conversion: what makes block blobs of legacy contents.
    """

    def such(what: str) -> str:
        return f"such as {counts.examples[what][0]!r}"

    if not counts.is_whole:
        yield Finding(
            "info",
            "sample",
            f"{some(counts.blobs, 'blob')} looked at, which are not all",
            "look at the whole container to be certain",
        )
    if counts.backups:
        yield Finding(
            "error",
            "migration-unfinished",
            f"a migration ended early, and left {some(counts.backups, 'backup')}, each perhaps the "
            "only copy of a blob",
            f"{migration}, which puts them back first",
        )
    if counts.superseded:
        drop = migration._replace(commands=[f"{migration.commands[0]} --drop-superseded"])
        yield Finding(
            "warning",
            "migration-superseded",
            f"{some(counts.superseded, 'earlier content')} that a migration has kept, "
            f"{such('superseded')}: others wrote the blob while it was converted",
            f"look at each; to delete them all, {drop}",
        )
    if conversion.legacy_contents:
        # There may be others, which a driver with these options does not overwrite.
        is_all = conversion.legacy_contents == counts.legacy_contents
        example = f", {such('legacy_contents')}" if is_all else ""
        yield Finding(
            "warning",
            "legacy-contents",
            f"{some(conversion.legacy_contents, 'append blob')} with contents that an old driver "
            f"wrote, most probably{example}: each is gone for a moment when it is overwritten for "
            "the first time",
            f"to make block blobs of them, {conversion}",
        )
    if counts.streams:
        yield Finding(
            "info",
            "streams",
            f"{some(counts.streams, 'append blob')} with streams, {such('streams')}, as writers "
            "in append mode store them",
        )
    if counts.types.get("PageBlob"):
        yield Finding(
            "warning",
            "page-blobs",
            f"{some(counts.types['PageBlob'], 'page blob')}, which no driver writes",
            "they can be read, and put contents replace them",
        )
    if counts.leased:
        yield Finding(
            "warning",
            "leased",
            f"{some(counts.leased, 'blob')} with a lease, {such('leased')}: not to be overwritten, "
            "moved or deleted",
            "release or break the leases",
        )
    if counts.snapshots:
        yield Finding(
            "warning",
            "snapshots",
            f"{some(counts.snapshots, 'snapshot')}, {such('snapshots')}: the blobs cannot be moved",
            "delete the snapshots, if they are not wanted",
        )
    if counts.uncommitted:
        yield Finding(
            "info",
            "uncommitted",
            f"{some(counts.uncommitted, 'stream')} in block mode begun and not committed, "
            f"{such('uncommitted')}; the service drops them after a week",
        )
    if counts.no_paths:
        yield Finding(
            "info",
            "no-paths",
            f"{some(counts.no_paths, 'blob')} with names of no path, {such('no_paths')}; drivers "
            "do not show them",
        )
