"""The options of the driver: checked when they are made, frozen, secrets out of their repr."""

from __future__ import annotations

import base64
import inspect
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import parse_qs, urlsplit

from azure.core.credentials import AccessToken

from azdriver.errors import ConfigurationError
from azdriver.paths import is_path

__all__ = [
    "DRIVER_NAME",
    "Anonymous",
    "AzureBlobOptions",
    "ClientSecret",
    "Credential",
    "DefaultCredential",
    "RetrySettings",
    "SasToken",
    "SharedKey",
    "TokenCredential",
]

DRIVER_NAME: Final = "azure"
MIB: Final = 1024 * 1024

# https://learn.microsoft.com/azure/storage/blobs/scalability-targets
MAX_PUT_BLOB_BYTES: Final = 5000 * MIB
MAX_APPEND_BLOCK_BYTES: Final = 100 * MIB
MAX_STAGED_BLOCK_BYTES: Final = 4000 * MIB

# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_CONTAINER_NAME: Final = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*|\$root|\$web|\$logs")
# All of these go into URLs and headers, so that nothing may break out of them. URL libraries drop
# line ends and tabs, fold dot segments, and take a backslash for a slash.
ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TENANT: Final = re.compile(r"[A-Za-z0-9.-]+")  # an id, or a domain
_QUERY: Final = re.compile(r"[A-Za-z0-9%&=._~:,;/?@!$'()*+-]+")
_URL: Final = re.compile(
    r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?P<path>(?:/[A-Za-z0-9._-]+)*)",
    re.IGNORECASE,
)
_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LONGEST_SECONDS: Final = 1e9  # beyond it, timers overflow


def shown(value: object) -> str:
    """A value for a message; a long one cut.

    Keys, SAS tokens and connection strings all have an equals sign, and nothing else that is right
    anywhere: they may have been given in the wrong place.
    """
    text = repr(value)
    if "=" in text:
        return "a value that may be a secret, and is not shown"
    return text if len(text) <= 100 else text[:100] + "…"


def _require_text(name: str, value: object) -> None:
    if not value:
        raise _wrong(name, "is missing")
    if not isinstance(value, str):
        raise _wrong(name, f"is to be a text, not {type(value).__name__}")


def _require_number(name: str, value: object, limit: int | None = None) -> None:
    kinds = (int, float) if name.endswith("_seconds") else (int,)
    most = _LONGEST_SECONDS if limit is None and name.endswith("_seconds") else limit
    if type(value) not in kinds or not value > 0 or (most is not None and value > most):  # type: ignore[operator]
        bound = "" if limit is None else f" and at most {limit}"
        raise _wrong(name, f"is to be above 0{bound}, not {shown(value)}")


@dataclass(frozen=True, slots=True)
class SharedKey:
    """An account's name and one of its two keys; it can sign URLs."""

    account_name: str
    account_key: str = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("account_name", "account_key"):
            _require_text(name, getattr(self, name))
        if not ACCOUNT_NAME.fullmatch(self.account_name):
            raise _wrong("account_name", f"is not an account's name: {shown(self.account_name)}")
        try:
            base64.b64decode(self.account_key, validate=True)
        except ValueError:
            raise _wrong("account_key", "is not base64, as every account key is") from None


@dataclass(frozen=True, slots=True)
class SasToken:
    """A shared access signature: the query of a signed URL, with or without the ``?``."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        _require_text("token", self.token)
        if not self.token.lstrip("?"):
            raise _wrong("token", "is missing")
        if not _QUERY.fullmatch(self.token):
            raise _wrong("token", "has characters that the query of an URL cannot have")

    @property
    def is_of_one_blob(self) -> bool:
        """Whether it is good for one blob (or a snapshot or version of it), not for a container."""
        resource = parse_qs(self.token.lstrip("?")).get("sr", [""])[0]
        return resource in ("b", "bs", "bv")


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A service principal of Microsoft Entra ID, by its secret; takes ``azdriver[identity]``.

    It signs in at the cloud that the endpoint belongs to (public, China, US Government), or where
    ``AZURE_AUTHORITY_HOST`` in the environment says.
    """

    tenant_id: str
    client_id: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("tenant_id", "client_id", "secret"):
            _require_text(name, getattr(self, name))
        if not _TENANT.fullmatch(self.tenant_id):
            # Not the value: whoever mixes them up has put the secret here.
            raise _wrong("tenant_id", "is not a tenant's id or domain")


@dataclass(frozen=True, slots=True)
class DefaultCredential:
    """What the platform offers; takes ``azdriver[identity]``.

    This is azure-identity's ``DefaultAzureCredential``: variables of the environment, workload
    identity, managed identity, and on a developer's machine the Azure CLI's login.

    Attributes:
        client_id: of the identity to use where a host has several (user-assigned) ones; None for
            what ``AZURE_CLIENT_ID`` in the environment says, or the host's own.
    """

    client_id: str | None = None

    def __post_init__(self) -> None:
        if self.client_id is not None:
            _require_text("client_id", self.client_id)


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No credential: for reading from a container that is open to the public."""


class TokenCredential(Protocol):
    """Any object that gives bearer tokens, such as the credentials of ``azure.identity.aio``.

    The driver never closes it.
    """

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        """A token for the scopes; ``tenant_id`` and ``claims`` may be among the keywords."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """How hard to try.

    Attributes:
        retries: attempts after the first one.
        first_delay_seconds: the wait before the first retry; it doubles with each, with jitter.
        longest_delay_seconds: where the doubling ends. A Retry-After of the service goes before.
        attempt_seconds: for one attempt, from its sending until its answer.
        total_seconds: for all attempts of one request together.
        slowest_bytes_per_second: a body adds its length over this to the two limits above.
        raise_if_unsure: what becomes of a write whose answer was lost, where nothing can tell
            whether it was applied: a put or a move onto nothing, and a deletion, that find
            nothing afterwards. By default these are sent again, or taken for done, which is
            what most callers want; with this they raise ``BackendError``, so that no write is
            ever applied twice, nor called done that was not.
    """

    retries: int = 5
    first_delay_seconds: float = 0.2
    longest_delay_seconds: float = 10.0
    attempt_seconds: float = 30.0
    total_seconds: float = 60.0
    slowest_bytes_per_second: int = 256 * 1024
    raise_if_unsure: bool = False

    def __post_init__(self) -> None:
        if type(self.retries) is not int or self.retries < 0:
            raise _wrong("retries", f"is to be 0 or more, not {shown(self.retries)}")
        for name in (
            "first_delay_seconds",
            "longest_delay_seconds",
            "attempt_seconds",
            "total_seconds",
            "slowest_bytes_per_second",
        ):
            _require_number(name, getattr(self, name))

    def delay(self, attempt: int, jitter: float) -> float:
        """The seconds to wait after the failed attempt ``attempt`` (0 is the first).

        Args:
            attempt: how many were made before it.
            jitter: from 0 to 1; clients that failed together must not come back together.
        """
        # Not 2**attempt alone: with many retries it would leave the range of a float.
        doubled = self.first_delay_seconds * 2.0 ** min(attempt, 32)
        return min(doubled, self.longest_delay_seconds) * (0.5 + 0.5 * jitter)


Credential: TypeAlias = (
    SharedKey | SasToken | ClientSecret | DefaultCredential | Anonymous | TokenCredential
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureBlobOptions:
    """How an ``AzureBlobDriver`` reaches its container, and how it works there.

    Attributes:
        account_url: the blob endpoint, such as ``https://ACCOUNT.blob.core.windows.net``.
        container: the container's name; it is created on opening where it does not exist.
        credential: how to authenticate. ``ClientSecret``, ``DefaultCredential`` and any
            ``TokenCredential`` send a bearer token with each request, which takes https.
        root_directory: what all blob names start with, such as ``registry``; ``""`` for none.
        legacy_root_prefix: keep the leading slash of paths in blob names, as the container
            registry 2.0 to 2.8 did.
        max_content_bytes: the largest content, in bytes, that ``put_content`` takes.
        write_mode: how ``writer`` stores a stream: ``"append"`` for an append blob, which shows
            what was flushed; ``"block"`` for a block blob, which shows nothing until ``commit``
            and takes several blocks at once.
        append_block_bytes: the bytes of one Append Block of a writer in append mode.
        block_bytes: the bytes of one Put Block of a writer in block mode; blocks grow with the
            stream beyond 8 GiB.
        blocks_in_flight: how many Put Blocks of one writer are on their way at once.
        read_range_bytes: the bytes of one ranged Get Blob of a reader that fetches ahead.
        read_ranges_in_flight: how many ranges a reader fetches at once; with 1 it reads by one
            request, which takes the least CPU and memory where one connection is fast enough.
        connections: the size of the connection pool.
        max_requests_in_flight: how many requests of all tasks together may be on their way at
            once; the others wait, first come, first served. None for ``connections``.
        adaptive_limit: lower that limit while the service refuses with 503 or 429, and raise it
            again; off for a limit that stays.
        connect_timeout_seconds: to open a connection.
        pool_timeout_seconds: to get a connection, the wait for a free one of the pool included.
        read_timeout_seconds: the longest silence within an answer.
        retry: attempts, waits and deadlines.
        copy_poll_seconds: between two looks at a copy that the service has not finished.
        copy_timeout_seconds: for a copy; it is aborted afterwards.
        use_env_settings: take proxies and netrc from the environment; costs two thread hops
            at every request.
        verify_tls: check the server's certificate; off only for a test server.
        create_container: create the container on opening where it does not exist; off to have
            that be an error.
        lean_lane: send lists, batches of deletions, HEADs and GETs as requests of azdriver's own,
            for a fraction of the CPU; off to send them through the SDK's calls. With an account
            key it signs them by a SAS of the SDK's newest version, for which a service that
            needs an older ``api_version`` may be too old.
        api_version: the service's REST version, where the SDK's own choice does not serve.
    """

    account_url: str
    container: str
    credential: Credential = field(repr=False)
    root_directory: str = ""
    legacy_root_prefix: bool = False
    max_content_bytes: int = 64 * MIB
    write_mode: Literal["append", "block"] = "append"
    append_block_bytes: int = 4 * MIB
    block_bytes: int = 4 * MIB
    blocks_in_flight: int = 4
    read_range_bytes: int = 4 * MIB
    read_ranges_in_flight: int = 4
    connections: int = 100
    max_requests_in_flight: int | None = None
    adaptive_limit: bool = True
    connect_timeout_seconds: float = 10.0
    pool_timeout_seconds: float = 20.0
    read_timeout_seconds: float = 30.0
    retry: RetrySettings = RetrySettings()
    copy_poll_seconds: float = 0.25
    copy_timeout_seconds: float = 300.0
    use_env_settings: bool = False
    verify_tls: bool = True
    create_container: bool = True
    lean_lane: bool = True
    api_version: str | None = None

    def __post_init__(self) -> None:
        for name in ("account_url", "container"):
            _require_text(name, getattr(self, name))
        for name in (
            "use_env_settings",
            "verify_tls",
            "legacy_root_prefix",
            "create_container",
            "lean_lane",
            "adaptive_limit",
        ):
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, f"is to be True or False, not {shown(getattr(self, name))}")
        if not isinstance(self.retry, RetrySettings):
            raise _wrong("retry", f"is to be RetrySettings, not {shown(self.retry)}")
        version = self.api_version
        if version is not None and not (isinstance(version, str) and _VERSION.fullmatch(version)):
            raise _wrong("api_version", f"is to be a date like 2021-12-02, not {shown(version)}")
        # Everything is put together from it: a slash at its end would be doubled.
        object.__setattr__(self, "account_url", self.account_url.rstrip("/"))
        if "?" in self.account_url:
            raise _wrong("account_url", "has a query; a SAS token belongs into the credential")
        if not _is_endpoint(self.account_url):
            raise _wrong("account_url", "is not an http or https URL of a host")
        self._check_credential()
        if not _CONTAINER_NAME.fullmatch(self.container):
            raise _wrong("container", f"is not a container name: {shown(self.container)}")
        root = self.root_directory
        if not isinstance(root, str) or (root.strip("/") and not is_path("/" + root.strip("/"))):
            raise _wrong("root_directory", f"is not a path: {shown(root)}")
        if self.write_mode not in ("append", "block"):
            raise _wrong("write_mode", f"is 'append' or 'block', not {shown(self.write_mode)}")
        for name, limit in (
            ("max_content_bytes", MAX_PUT_BLOB_BYTES),
            ("append_block_bytes", MAX_APPEND_BLOCK_BYTES),
            ("block_bytes", MAX_STAGED_BLOCK_BYTES),
            ("blocks_in_flight", None),
            ("read_range_bytes", None),
            ("read_ranges_in_flight", None),
            ("connections", None),
            ("connect_timeout_seconds", None),
            ("pool_timeout_seconds", None),
            ("read_timeout_seconds", None),
            ("copy_poll_seconds", None),
            ("copy_timeout_seconds", None),
        ):
            _require_number(name, getattr(self, name), limit)
        if self.max_requests_in_flight is not None:
            _require_number("max_requests_in_flight", self.max_requests_in_flight)

    def _check_credential(self) -> None:
        credential = self.credential
        if isinstance(credential, SharedKey | SasToken | Anonymous):
            return
        if isinstance(credential, ClientSecret | DefaultCredential):
            if not has_identity():
                kind = type(credential).__name__
                raise _wrong(
                    "credential",
                    f"{kind} takes azure-identity, which is not installed: "
                    "python -m pip install 'azdriver[identity]'",
                )
        else:
            get_token = getattr(credential, "get_token", None)
            if isinstance(credential, type) or not callable(get_token):
                kind = type(credential).__name__
                raise _wrong(
                    "credential",
                    "is to be a SharedKey, SasToken, ClientSecret, DefaultCredential, Anonymous "
                    f"or an object with get_token, not {kind}",
                )
            if not inspect.iscoroutinefunction(get_token):
                raise _wrong(
                    "credential",
                    "has a get_token that blocks: take the class of the same name out of "
                    "azure.identity.aio",
                )
        if urlsplit(self.account_url).scheme != "https":
            raise _wrong("account_url", "is to be https, for a token goes with each request")


def has_identity() -> bool:
    """Whether azure-identity is installed."""
    return find_spec("azure.identity") is not None


def _is_endpoint(url: str) -> bool:
    try:
        urlsplit(url).port  # noqa: B018 -- a ValueError if it is no number
    except ValueError:
        return False
    # No user and password, which our repr would show; no dot segments, which would be folded.
    match = _URL.fullmatch(url)
    return match is not None and {".", ".."}.isdisjoint(match["path"].split("/"))


def _wrong(parameter: str, reason: str) -> ConfigurationError:
    return ConfigurationError(DRIVER_NAME, parameter, reason)
