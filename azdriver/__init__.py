"""azdriver: the asyncio-native storage driver for Azure Blob Storage.

Importing this package loads no module of the Azure SDK; ``azdriver.AzureBlobDriver`` and
``open_driver("azure", …)`` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azdriver.contract import (
    Buffer,
    FileInfo,
    FileReader,
    FileWriter,
    StorageDriver,
    Walk,
)
from azdriver.errors import (
    BackendError,
    ConcurrentWriteError,
    ConfigurationError,
    ContentTooLargeError,
    DriverStateError,
    InvalidExpiryError,
    InvalidOffsetError,
    InvalidPathError,
    NotAppendableError,
    PartialDeleteError,
    PathNotFoundError,
    PreconditionFailedError,
    StorageDriverError,
    UnsupportedMethodError,
    WriterStateError,
)
from azdriver.factory import from_url, open_driver, register
from azdriver.memory import MemoryDriver
from azdriver.paths import StoragePath, parse_path
from azdriver.registry import from_registry_config
from azdriver.stats import DriverStats
from azdriver.tree import direct_descendants
from azdriver.urls import DriverUrl

if TYPE_CHECKING:
    from azdriver.azureblob import AzureBlobDriver, AzureBlobOptions

__version__ = "0.1.0.dev0"

__all__ = [
    "AzureBlobDriver",
    "AzureBlobOptions",
    "BackendError",
    "Buffer",
    "ConcurrentWriteError",
    "ConfigurationError",
    "ContentTooLargeError",
    "DriverStateError",
    "DriverStats",
    "DriverUrl",
    "FileInfo",
    "FileReader",
    "FileWriter",
    "InvalidExpiryError",
    "InvalidOffsetError",
    "InvalidPathError",
    "MemoryDriver",
    "NotAppendableError",
    "PartialDeleteError",
    "PathNotFoundError",
    "PreconditionFailedError",
    "StorageDriver",
    "StorageDriverError",
    "StoragePath",
    "UnsupportedMethodError",
    "Walk",
    "WriterStateError",
    "__version__",
    "direct_descendants",
    "from_registry_config",
    "from_url",
    "open_driver",
    "parse_path",
    "register",
]


def __getattr__(name: str) -> Any:
    if name in ("AzureBlobDriver", "AzureBlobOptions"):
        from azdriver import azureblob

        return getattr(azureblob, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
