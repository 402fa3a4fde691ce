"""The driver on Azure Blob Storage, over the SDK's asyncio clients."""

from __future__ import annotations

from azdriver.azureblob.driver import AzureBlobDriver
from azdriver.azureblob.options import (
    Anonymous,
    AzureBlobOptions,
    ClientSecret,
    DefaultCredential,
    RetrySettings,
    SasToken,
    SharedKey,
    TokenCredential,
)

__all__ = [
    "Anonymous",
    "AzureBlobDriver",
    "AzureBlobOptions",
    "ClientSecret",
    "DefaultCredential",
    "RetrySettings",
    "SasToken",
    "SharedKey",
    "TokenCredential",
]
