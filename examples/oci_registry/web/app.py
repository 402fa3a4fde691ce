"""The application: which handler answers which request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from azdriver import StorageDriver
from oci_registry.names import RepositoryName
from oci_registry.settings import RegistrySettings
from oci_registry.storage import RegistryStorage
from oci_registry.web import blobs, discovery, health, manifests, uploads
from oci_registry.web.body import expect_nothing_yet
from oci_registry.web.context import MAY_READ, SETTINGS, STORAGE, MayRead
from oci_registry.web.middleware import answer_errors
from oci_registry.web.traffic import (
    TRAFFIC,
    Traffic,
    close_when_ending,
    limit_bodies,
    limit_traffic,
)

__all__ = ["make_app"]


async def _check_version(request: web.Request) -> web.StreamResponse:
    """That this is a registry, and that the client may talk to it."""
    return web.json_response({})


def _may_read_all(request: web.Request, name: RepositoryName) -> bool:
    return True


async def _say_version(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Docker-Distribution-API-Version"] = "registry/2.0"


_ROUTES: Final[Sequence[tuple[str, str, Handler]]] = (
    ("HEAD", health.LIVE, health.is_live),
    ("GET", health.LIVE, health.is_live),
    ("HEAD", health.READY, health.is_ready),
    ("GET", health.READY, health.is_ready),
    *(
        (method, path, handler)
        for path, handler in (
            ("/v2/", _check_version),
            ("/v2", _check_version),
            ("/v2/_catalog", discovery.list_repositories),
            ("/v2/{name:.+}/tags/list", discovery.list_tags),
            ("/v2/{name:.+}/referrers/{digest}", discovery.get_referrers),
        )
        for method in ("HEAD", "GET")
    ),
    ("HEAD", "/v2/{name:.+}/manifests/{reference}", manifests.get_manifest),
    ("GET", "/v2/{name:.+}/manifests/{reference}", manifests.get_manifest),
    ("PUT", "/v2/{name:.+}/manifests/{reference}", manifests.put_manifest),
    ("DELETE", "/v2/{name:.+}/manifests/{reference}", manifests.delete_manifest),
    ("POST", "/v2/{name:.+}/blobs/uploads/", uploads.start_upload),
    ("POST", "/v2/{name:.+}/blobs/uploads", uploads.start_upload),
    ("GET", "/v2/{name:.+}/blobs/uploads/{upload}", uploads.upload_status),
    ("PATCH", "/v2/{name:.+}/blobs/uploads/{upload}", uploads.append_chunk),
    ("PUT", "/v2/{name:.+}/blobs/uploads/{upload}", uploads.finish_upload),
    ("DELETE", "/v2/{name:.+}/blobs/uploads/{upload}", uploads.cancel_upload),
    ("HEAD", "/v2/{name:.+}/blobs/{digest}", blobs.head_blob),
    ("GET", "/v2/{name:.+}/blobs/{digest}", blobs.get_blob),
    ("DELETE", "/v2/{name:.+}/blobs/{digest}", blobs.delete_blob),
)


def make_app(
    driver: StorageDriver,
    settings: RegistrySettings | None = None,
    *,
    middlewares: Iterable[Middleware] = (),
    may_read: MayRead = _may_read_all,
) -> web.Application:
    """A registry on a driver that is open, and stays the caller's to close.

    Args:
        driver: where it stores.
        settings: the defaults, if None.
        middlewares: run before every handler, in this order; they may raise ``RegistryError``.
        may_read: whether a client may read a repository other than that of its request.
    """
    settings = settings or RegistrySettings()
    app = web.Application(middlewares=[answer_errors, limit_traffic, *middlewares, limit_bodies])
    app[SETTINGS] = settings
    app[STORAGE] = RegistryStorage(driver, settings)
    app[MAY_READ] = may_read
    app[health.READINESS] = health.Readiness(driver)
    app[TRAFFIC] = Traffic(max_bodies=settings.max_concurrent_uploads)
    for method, path, handler in _ROUTES:
        app.router.add_route(method, path, handler, expect_handler=expect_nothing_yet)
    app.on_response_prepare.append(_say_version)
    app.on_response_prepare.append(close_when_ending)
    return app
