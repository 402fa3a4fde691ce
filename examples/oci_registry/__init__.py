"""An OCI registry on azdriver: the distribution specification 1.1 over any storage driver.

It uses the contract of :mod:`azdriver` alone, so it runs on Azure Blob Storage and in memory
alike. ``python -m oci_registry serve --help`` starts it.
"""
