"""Bearer tokens that Azurite takes, without Microsoft Entra ID::

    async with azurite(
        oauth="basic", certificate=certificate, key=key, host="localhost"
    ) as server:
        options = AzureBlobOptions(
            account_url=server.blob_endpoint,
            container="tests",
            credential=LocalCredential(),
            verify_tls=False,
        )

Azurite looks at the claims of a token, and does not check its signature.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from typing import Any, Final

from azure.core.credentials import AccessToken

__all__ = ["LocalCredential", "access_token"]

TENANT_ID: Final = "00000000-0000-0000-0000-00000000000a"
OBJECT_ID: Final = "00000000-0000-0000-0000-00000000000b"


def access_token(
    lifetime_seconds: float = 3600, *, audience: str = "https://storage.azure.com"
) -> AccessToken:
    """A token that no other call returns; its signature is random."""
    now = time.time()
    claims = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{TENANT_ID}/",
        "iat": int(now),
        "nbf": int(now) - 60,
        "exp": int(now + lifetime_seconds),
        "oid": OBJECT_ID,
        "tid": TENANT_ID,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    text = b".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=") for part in (*parts, os.urandom(32))
    )
    return AccessToken(text.decode("ascii"), int(now + lifetime_seconds))


class LocalCredential:
    """A token credential that makes its tokens itself.

    Attributes:
        lifetime_seconds: of the next token.
        delay_seconds: how long it takes to give one.
        error: what it raises in the place of the next tokens.
        issued: the tokens that it gave.
        asked: what it was asked for: the scopes, and the keywords.
        most_at_once: how many calls were under way at once, at most.
        closed: how often it was closed.
    """

    def __init__(
        self,
        lifetime_seconds: float = 3600,
        *,
        delay_seconds: float = 0,
        audience: str = "https://storage.azure.com",
    ) -> None:
        self.lifetime_seconds = lifetime_seconds
        self.delay_seconds = delay_seconds
        self.error: Exception | None = None
        self.issued: list[AccessToken] = []
        self.asked: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        self.most_at_once = 0
        self.closed = 0
        self._audience = audience
        self._under_way = 0

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        self.asked.append((scopes, kwargs))
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            await asyncio.sleep(self.delay_seconds)
        finally:
            self._under_way -= 1
        if self.error is not None:
            raise self.error
        token = access_token(self.lifetime_seconds, audience=self._audience)
        self.issued.append(token)
        return token

    async def close(self) -> None:
        self.closed += 1
