"""Basic authentication: a name and a password with each request."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from oci_registry.auth import Htpasswd
from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.web.health import is_health

__all__ = ["require_user"]

CHALLENGE: Final = 'Basic realm="registry", charset="UTF-8"'


def require_user(users: Htpasswd) -> Middleware:
    """A middleware that lets in the users of a file, and health probes."""

    @web.middleware
    async def require(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_health(request):
            credentials = _credentials(request)
            if credentials is None or not await users.admits(*credentials):
                raise RegistryError(
                    ErrorCode.UNAUTHORIZED,
                    "authentication is required",
                    headers={"WWW-Authenticate": CHALLENGE},
                )
        return await handler(request)

    return require


def _credentials(request: web.Request) -> tuple[str, str] | None:
    """What ``Authorization`` holds; None if it is missing or is something else."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, separator, password = decoded.partition(":")
    return (user, password) if separator else None
