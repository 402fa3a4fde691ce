"""What a driver has done so far: a snapshot of its counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DriverStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverStats:
    """The counters of one driver at one moment, from when it was made.

    The difference of two snapshots is what was done in between. A driver without a network, such
    as ``memory``, has the first two only.

    Attributes:
        operations: how many operations of the contract were begun, by method; a stream is one.
        failures: how many of them raised, by method.
        requests: how many requests were handed to the network, by the service's name for them,
            such as ``"Put Blob"``; each attempt counts.
        retries: how often something was sent again after a failure.
        throttled: the answers by which the service said that too much is asked of it.
        sent_bytes: of the bodies of the requests.
        received_bytes: of the bodies of the answers.
        requests_in_flight: how many requests wait for their answer now.
        requests_waiting: how many wait until they may be sent.
        request_limit: how many may be in flight now; None where there is no limit.
    """

    operations: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    throttled: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    requests_in_flight: int = 0
    requests_waiting: int = 0
    request_limit: int | None = None
