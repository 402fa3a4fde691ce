"""What can be set about a registry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from math import inf
from typing import Final

from azdriver import ConfigurationError

__all__ = ["MissingReferences", "RegistrySettings"]

# Longer ones may end before the first date that Python has.
MOST_TIME: Final = timedelta(days=365 * 200)
# What the Go registry takes, too.
DEFAULT_MANIFEST_BYTES: Final = 4 * 1024 * 1024


class MissingReferences(StrEnum):
    """What becomes of a manifest that names blobs or manifests which were never pushed."""

    REFUSE = "refuse"
    SPARSE_INDEXES = "sparse-indexes"
    """An index may name manifests that are not there; an image is to be whole."""
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """The settings of a registry.

    Attributes:
        max_manifest_bytes: a larger manifest is refused with 413.
        missing_references: what becomes of manifests that name what was never pushed.
        redirect_blobs: answer the GET of a blob by a redirect to an URL that the driver signs.
            A driver that cannot sign serves the blob as usual.
        redirect_expiry: for how long such an URL is good.
        grace_period: how long garbage collection leaves alone what nothing refers to: longer
            than any push takes.
        body_idle_seconds: how long a client may send nothing within a body, or take nothing.
        request_seconds: how long a request may take: far less than the grace period.
        max_upload_bytes: a larger blob is refused with 413; None if there is no limit.
        max_concurrent_requests: of all clients; one more is refused with 429.
        max_concurrent_uploads: requests with a body, which takes memory. One more waits for
            ``upload_wait_seconds``, and is then refused with 429.
        upload_wait_seconds: for the end of another upload.
        max_page_entries: of the catalog in one answer; more are on the next page.
        max_page_bytes: of the referrers in one answer; more are on the next page.
        max_requests_in_flight: storage requests at once for one request of a client.
        max_hashers: uploads whose hash is kept in memory; others are read once at their end.
    """

    max_manifest_bytes: int = DEFAULT_MANIFEST_BYTES
    missing_references: MissingReferences = MissingReferences.REFUSE
    redirect_blobs: bool = False
    redirect_expiry: timedelta = timedelta(minutes=20)
    grace_period: timedelta = timedelta(hours=24)
    body_idle_seconds: float = 60.0
    request_seconds: float = 2 * 60 * 60.0
    max_upload_bytes: int | None = None
    max_concurrent_requests: int = 1000
    max_concurrent_uploads: int = 32
    upload_wait_seconds: float = 10.0
    max_page_entries: int = 1000
    max_page_bytes: int = 4 * 1024 * 1024
    max_requests_in_flight: int = 16
    max_hashers: int = 1000

    def __post_init__(self) -> None:
        for name in (
            "max_manifest_bytes",
            "body_idle_seconds",
            "request_seconds",
            "max_concurrent_requests",
            "max_concurrent_uploads",
            "upload_wait_seconds",
            "max_page_entries",
            "max_page_bytes",
            "max_requests_in_flight",
            "max_hashers",
        ):
            # As it is written, NaN is refused, too.
            if not 0 < getattr(self, name) < inf:
                raise ConfigurationError("registry", name, "is to be a number greater than 0")
        for name in ("redirect_expiry", "grace_period"):
            if not timedelta(0) < getattr(self, name) <= MOST_TIME:
                raise ConfigurationError(
                    "registry", name, f"is to be longer than 0, and at most {MOST_TIME.days} days"
                )
        if self.max_upload_bytes is not None and self.max_upload_bytes < 0:
            raise ConfigurationError("registry", "max_upload_bytes", "is negative")

    @property
    def max_stored_manifest_bytes(self) -> int:
        """What is larger, and nothing says that it is a manifest, is none."""
        return max(self.max_manifest_bytes, DEFAULT_MANIFEST_BYTES)
