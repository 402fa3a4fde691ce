"""Bringing a container that old drivers filled into today's form.

:func:`migrate` moves blobs from one layout to another, and makes block blobs of the contents that
were append blobs; :func:`plan_migration` says what it would do. A run that was killed is finished
by the next one.
"""

from __future__ import annotations

from azdriver.azureblob.migration.planning import plan_migration
from azdriver.azureblob.migration.report import (
    Incident,
    MigrationPlan,
    MigrationProgress,
    MigrationReport,
)
from azdriver.azureblob.migration.running import migrate
from azdriver.azureblob.migration.settings import MigrationSettings

__all__ = [
    "Incident",
    "MigrationPlan",
    "MigrationProgress",
    "MigrationReport",
    "MigrationSettings",
    "migrate",
    "plan_migration",
]
