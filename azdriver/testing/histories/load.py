"""What is run: how much, by how many, and what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from azdriver.azureblob import RetrySettings

Variant: TypeAlias = Literal["azdriver", "append-writer", "unconditional-delete"]

# What is done, and how often in a hundred.
SHARES: Final = {
    "get": 33,
    "stat": 12,
    "put": 17,
    "swap": 9,  # a put with if_match
    "create": 9,  # a put with if_absent
    "delete": 8,
    "move": 8,
    "plant": 4,  # a legacy append blob, as an old client leaves it
}
# With jitter, so that drivers do not march in step. Short, since many are wanted.
RETRY: Final = RetrySettings(retries=5, first_delay_seconds=0.01, longest_delay_seconds=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is run.

    Attributes:
        operations: how many in all.
        processes: how many processes share them.
        drivers: of each process.
        tasks: of each driver.
        paths: how many paths they all work on.
        fault_share: of the requests of every other driver, how many a fault strikes.
        retries: of each driver; with 0 no write is sent twice.
        raise_if_unsure: of each driver's ``RetrySettings``; with it none is applied twice.
        seed: of what is done and which faults strike; what meets what is not repeated by it.
        variant: ``"azdriver"``; or what the check has to reject: ``"append-writer"``, where
            contents are put in chunks into an append blob, as the registry did until 2016; or
            ``"unconditional-delete"``, where the migration deletes whatever it finds.
    """

    operations: int
    processes: int = 2
    drivers: int = 2
    tasks: int = 6
    paths: int = 4
    fault_share: float = 0.03
    retries: int = RETRY.retries
    raise_if_unsure: bool = False
    seed: int = 0
    variant: Variant = "azdriver"
