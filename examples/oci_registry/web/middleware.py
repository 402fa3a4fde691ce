"""Every answer that is no success, in the form of the specification."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from azdriver import InvalidPathError, StorageDriverError
from oci_registry.errors import ErrorCode, RegistryError

__all__ = ["answer_errors"]

_log = logging.getLogger(__name__)

_CODES: Final = {
    404: ErrorCode.NAME_UNKNOWN,
    405: ErrorCode.UNSUPPORTED,
    413: ErrorCode.SIZE_INVALID,
}


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into an answer.

    What nobody foresaw is logged, and is 500; its message is not for the client. Paths are logged
    as they were sent, quoted: decoded, they may have lines of their own.
    """
    try:
        return await handler(request)
    except RegistryError as error:
        return _answer(request, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = _CODES.get(error.status, ErrorCode.UNSUPPORTED)
        allow = error.headers.get("Allow")
        headers = {"Allow": allow} if allow else None
        return _answer(
            request, RegistryError(code, error.reason, status=error.status, headers=headers)
        )
    except InvalidPathError:
        # The names were checked: together they are longer than the driver's paths.
        return _answer(request, RegistryError(ErrorCode.NAME_INVALID, "the name is too long"))
    except StorageDriverError as error:
        _log.error("%s %a: %s", request.method, request.rel_url.raw_path, error)
        return _answer(
            request,
            RegistryError(ErrorCode.UNAVAILABLE, "the storage does not answer as it should"),
        )
    except ConnectionError as error:
        if request.transport is not None and not request.transport.is_closing():
            raise
        # Not raised: aiohttp logs a traceback for what is the client's affair.
        _log.info("%s %a: the client is gone: %s", request.method, request.rel_url.raw_path, error)
        return web.Response()  # which nobody gets
    except Exception:
        _log.exception("%s %a", request.method, request.rel_url.raw_path)
        return _answer(request, RegistryError(ErrorCode.UNKNOWN, "unknown error"))


def _answer(request: web.Request, error: RegistryError) -> web.StreamResponse:
    if request.writer.output_size > 0:
        # Half an answer is sent. Only a cut connection tells the client that it is not whole.
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # which nobody gets
    response = web.json_response(error.body(), status=error.status, headers=error.headers)
    if "Expect" in request.headers:
        # The client may send its body yet, or not: what comes next on this connection is unknown.
        response.force_close()
    return response
