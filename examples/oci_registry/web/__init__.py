"""The HTTP API of the registry, on ``aiohttp.web``."""

from oci_registry.web.app import make_app

__all__ = ["make_app"]
