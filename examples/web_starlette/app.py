"""A file server on Starlette; so is every FastAPI app, which can mount this one.

    GET, HEAD /files/a/b    the file: ranges, ETag, 304; or 307 to a signed URL
    GET /files/a/           the directory, as JSON
    PUT /files/a/b          stores the body, whole or not at all; If-Match, If-None-Match
    DELETE /files/a/b       deletes the file

Errors of the driver become statuses in ``web_common.answers``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from azdriver import StorageDriver, StorageDriverError
from web_common.answers import RequestRefused, answer_to
from web_common.downloads import open_download
from web_common.trees import FILES, delete_file, list_directory
from web_common.uploads import MAX_UPLOAD_BYTES, store

__all__ = ["create_app"]

_log = logging.getLogger(__name__)


def create_app(
    storage: AbstractAsyncContextManager[StorageDriver],
    *,
    redirect: bool = False,
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
) -> Starlette:
    """Make the app.

    Args:
        storage: entered when the app starts, left when it stops: a driver that is not open yet,
            or what opens one.
        redirect: send downloads to a signed URL, where the driver can sign.
        max_upload_bytes: the largest upload.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # One driver for all requests, in the event loop that serves them.
        async with storage as driver:
            app.state.driver = driver
            yield

    path = FILES + "/{path:path}"
    app = Starlette(
        routes=[
            Route(path, get, methods=["GET"]),  # and HEAD
            Route(path, put, methods=["PUT"]),
            Route(path, delete, methods=["DELETE"]),
        ],
        exception_handlers={
            RequestRefused: error_as_answer,
            StorageDriverError: error_as_answer,
            ClientDisconnect: nobody_to_answer,
        },
        lifespan=lifespan,
    )
    app.state.redirect = redirect
    app.state.max_upload_bytes = max_upload_bytes
    return app


async def error_as_answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused | StorageDriverError)
    answer = answer_to(error)
    if answer.status >= 500:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    return JSONResponse(answer.body, answer.status, answer.headers)


async def nobody_to_answer(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # not sent: the client has hung up


async def get(request: Request) -> Response:
    path = _path(request)
    if path.endswith("/"):
        return JSONResponse({"entries": list(await list_directory(_driver(request), path))})
    return DownloadResponse(request, path)


class DownloadResponse(Response):
    """A response that opens its file when it is sent, and closes it then, come what may."""

    def __init__(self, request: Request, path: str) -> None:
        super().__init__()
        self._request = request
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._request
        async with open_download(
            _driver(request),
            self._path,
            request.method,
            request.headers,
            redirect=request.app.state.redirect,
        ) as download:
            response = Response(None, download.status, download.headers)
            if download.reader is not None:
                # Sending waits while the client is slow, and ends when it hangs up. What raises
                # after the head is out cuts the connection: the client is to see a cut body.
                response = StreamingResponse(download.reader, download.status, download.headers)
            await response(scope, receive, send)


async def put(request: Request) -> Response:
    status, headers = await store(
        _driver(request),
        _path(request),
        request.headers,
        # Unlike request.body(), this stops reading from the connection while nobody asks, and
        # raises if the client hangs up.
        request.stream(),
        max_bytes=request.app.state.max_upload_bytes,
    )
    return Response(status_code=status, headers=headers)


async def delete(request: Request) -> Response:
    await delete_file(_driver(request), _path(request), request.headers)
    return Response(status_code=204)


def _driver(request: Request) -> StorageDriver:
    driver: StorageDriver = request.app.state.driver
    return driver


def _path(request: Request) -> str:
    # Not of path_params: the router's pattern leaves out a newline at the end. Where this app is
    # mounted in another one, root_path says.
    path: str = request.scope["path"]
    root: str = request.scope.get("root_path", "")
    return path.removeprefix(root)
