"""The driver on Azure Blob Storage, over the SDK's asyncio clients."""

from __future__ import annotations

from azdriver.azureblob.driver import AzureBlobDriver
from azdriver.azureblob.options import AzureBlobOptions, RetrySettings, SasToken, SharedKey

__all__ = ["AzureBlobDriver", "AzureBlobOptions", "RetrySettings", "SasToken", "SharedKey"]
