"""Looks at a container, and says what an operator has to know and to set.

:func:`examine` changes nothing: all it sends either reads, or cannot succeed.
"""

from __future__ import annotations

from azdriver.azureblob.doctor.diagnosis import (
    BlobCounts,
    Diagnosis,
    Finding,
    LayoutCount,
    Severity,
)
from azdriver.azureblob.doctor.examining import examine

__all__ = ["BlobCounts", "Diagnosis", "Finding", "LayoutCount", "Severity", "examine"]
