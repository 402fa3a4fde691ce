"""What becomes of one blob."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = ["ATTEMPTS", "Outcome"]

Outcome: TypeAlias = Literal["done", "gone", "in place", "conflict", "changed", "dropped"]

ATTEMPTS: Final = 4
"""On a blob that others keep writing; then it is left for another run."""
