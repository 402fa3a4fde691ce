"""What a registry stores, over the contract of a storage driver. Nothing here knows HTTP."""

from __future__ import annotations

from azdriver import StorageDriver
from oci_registry.settings import RegistrySettings
from oci_registry.storage.blobs import BlobStore
from oci_registry.storage.catalog import Catalog
from oci_registry.storage.manifests import ManifestStore
from oci_registry.storage.referrers import ReferrerStore
from oci_registry.storage.tags import TagStore
from oci_registry.storage.uploads import UploadStore

__all__ = ["RegistryStorage"]


class RegistryStorage:
    """The stores of one registry, which belong together."""

    def __init__(self, driver: StorageDriver, settings: RegistrySettings) -> None:
        self.driver = driver
        self.catalog = Catalog(driver)
        self.blobs = BlobStore(driver, settings)
        self.uploads = UploadStore(driver, settings, self.blobs)
        self.tags = TagStore(driver, settings)
        self.referrers = ReferrerStore(driver, settings)
        self.manifests = ManifestStore(driver, settings, self.blobs, self.tags, self.referrers)
