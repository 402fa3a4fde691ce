"""A file server on aiohttp.web.

    GET, HEAD /files/a/b    the file: ranges, ETag, 304; or 307 to a signed URL
    GET /files/a/           the directory, as JSON
    PUT /files/a/b          stores the body, whole or not at all; If-Match, If-None-Match
    DELETE /files/a/b       deletes the file

Errors of the driver become statuses in ``web_common.answers``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from azdriver import StorageDriver, StorageDriverError
from web_common.answers import RequestRefused, answer_to
from web_common.downloads import open_download
from web_common.trees import FILES, delete_file, list_directory
from web_common.uploads import MAX_UPLOAD_BYTES, store

__all__ = ["create_app"]

DRIVER: Final = web.AppKey("driver", StorageDriver)
REDIRECT: Final = web.AppKey("redirect", bool)
MAX_BYTES: Final = web.AppKey("max_bytes", int)

_log = logging.getLogger(__name__)
routes = web.RouteTableDef()


def create_app(
    storage: AbstractAsyncContextManager[StorageDriver],
    *,
    redirect: bool = False,
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
) -> web.Application:
    """Make the app.

    Args:
        storage: entered when the app starts, left when it stops: a driver that is not open yet,
            or what opens one.
        redirect: send downloads to a signed URL, where the driver can sign.
        max_upload_bytes: the largest upload.
    """

    async def opened(app: web.Application) -> AsyncIterator[None]:
        # One driver for all requests, in the event loop that serves them.
        async with storage as driver:
            app[DRIVER] = driver
            yield

    app = web.Application(middlewares=[errors_as_answers])
    app[REDIRECT] = redirect
    app[MAX_BYTES] = max_upload_bytes
    app.cleanup_ctx.append(opened)
    app.add_routes(routes)
    return app


@web.middleware
async def errors_as_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (RequestRefused, StorageDriverError) as error:
        answer = answer_to(error)
        if answer.status >= 500:
            _log.error("%s %s: %s", request.method, request.path, error)
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)
    except web.RequestPayloadError:
        return web.json_response({"error": "malformed body"}, status=400)
    except ConnectionError:
        if request.transport is not None and not request.transport.is_closing():
            raise
        return web.Response(status=400)  # not sent: the client has hung up


@routes.get(FILES + "/{path:.*}")  # and HEAD
async def get(request: web.Request) -> web.StreamResponse:
    driver, path = request.app[DRIVER], _path(request)
    if path.endswith("/"):
        return web.json_response({"entries": list(await list_directory(driver, path))})
    async with open_download(
        driver, path, request.method, request.headers, redirect=request.app[REDIRECT]
    ) as download:
        response = web.StreamResponse(status=download.status, headers=download.headers)
        await response.prepare(request)
        if download.reader is None:
            return response
        try:
            async for chunk in download.reader:
                await response.write(chunk)  # waits while the client is slow; raises if it is gone
        except StorageDriverError as error:
            # The head is out, so there is no status any more: the client is to see a cut body.
            _log.error("%s %s: %s", request.method, request.path, error)
            if request.transport is not None:
                request.transport.abort()
    return response


@routes.put(FILES + "/{path:.*}")
async def put(request: web.Request) -> web.Response:
    status, headers = await store(
        request.app[DRIVER],
        _path(request),
        request.headers,
        # Unlike request.read(), this stops reading from the connection while nobody asks, and
        # raises if the client hangs up.
        request.content.iter_any(),
        max_bytes=request.app[MAX_BYTES],
    )
    return web.Response(status=status, headers=headers)


@routes.delete(FILES + "/{path:.*}")
async def delete(request: web.Request) -> web.Response:
    await delete_file(request.app[DRIVER], _path(request), request.headers)
    return web.Response(status=204)


def _path(request: web.Request) -> str:
    return f"{FILES}/{request.match_info['path']}"
