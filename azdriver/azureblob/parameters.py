"""Options out of what operators already have: the registry's parameters, a connection string."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from azdriver.azureblob.options import (
    DRIVER_NAME,
    Anonymous,
    AzureBlobOptions,
    ClientSecret,
    Credential,
    DefaultCredential,
    RetrySettings,
    SasToken,
    SharedKey,
    shown,
)
from azdriver.errors import ConfigurationError

__all__ = ["options_from_connection_string", "options_from_parameters"]

_DEFAULT_REALM: Final = "core.windows.net"
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+")

# https://learn.microsoft.com/azure/storage/common/storage-use-azurite: public, the same everywhere.
_DEVELOPMENT_STORAGE: Final = (
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;AccountName=devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


def options_from_connection_string(
    connection_string: str, container: str, **options: Any
) -> AzureBlobOptions:
    """Options out of a storage account's connection string.

    Args:
        connection_string: as the portal shows it, with ``AccountKey`` or
            ``SharedAccessSignature``; ``UseDevelopmentStorage=true`` is Azurite on its own port.
        container: the container's name.
        **options: any other attribute of :class:`AzureBlobOptions`.

    Raises:
        ConfigurationError: naming what is missing or wrong.
    """
    account_url, credential = _parse_connection_string(connection_string)
    try:
        return AzureBlobOptions(
            account_url=account_url, container=container, credential=credential, **options
        )
    except ConfigurationError as error:
        if error.parameter != "account_url":
            raise
        raise _wrong("connectionstring", f"has a BlobEndpoint that {error.reason}") from None


def options_from_parameters(parameters: Mapping[str, Any]) -> AzureBlobOptions:
    """Options by the names that the container registry's configuration has for them.

    Args:
        parameters: ``container``, and either ``connectionstring`` or ``accountname`` with
            ``accountkey``, ``sastoken`` or ``credentials``; the others are optional.

    Raises:
        ConfigurationError: naming the parameter that is missing, unknown, contradictory or wrong.
    """
    given = {str(key).lower(): value for key, value in parameters.items() if value is not None}
    known = sorted({*_CONNECTION, *_OPTIONS, *_RETRY, *_LAYOUT})
    for key in given:
        if key not in known:
            name = key[:100] if "=" not in key else "(not shown)"  # a secret has equals signs
            raise _wrong(name, f"is unknown; there are: {', '.join(known)}")
    if "container" not in given:
        raise _wrong("container", "is missing")
    try:
        account_url, credential = _connection(given)
        return AzureBlobOptions(
            account_url=account_url,
            container=_text("container", given["container"]),
            credential=credential,
            legacy_root_prefix=_legacy_root_prefix(given),
            retry=RetrySettings(**_converted(given, _RETRY)),
            **_converted(given, _OPTIONS),
        )
    except ConfigurationError as error:
        # What the options find wrong they call by their own names.
        raise _wrong(_as_given(error.parameter, given), error.reason) from None


def _as_given(option: str, given: Mapping[str, Any]) -> str:
    """The parameter that an option came from."""
    if option in _OF_CONNECTION:
        candidates = ("connectionstring", *_OF_CONNECTION[option])
        return next((key for key in candidates if key in given), candidates[-1])
    names = {name: key for key, (name, _) in {**_OPTIONS, **_RETRY}.items()}
    return names.get(option, option)


def _wrong(parameter: str, reason: str) -> ConfigurationError:
    return ConfigurationError(DRIVER_NAME, parameter, reason)


def _text(parameter: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(parameter, f"is to be a text, not {type(value).__name__}")
    return value


def _integer(parameter: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise _wrong(parameter, f"is to be a whole number, not {shown(value)}") from None


def _boolean(parameter: str, value: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise _wrong(parameter, f"is to be true or false, not {shown(value)}") from None


_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


def _seconds(parameter: str, value: object) -> float:
    """A number of seconds, or a duration as Go writes it: ``100ms``, ``2s``, ``1m30s``."""
    text = str(value)
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise _wrong(parameter, f"is to be seconds or a duration such as 100ms, not {shown(value)}")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _not(parameter: str, value: object) -> bool:
    return not _boolean(parameter, value)


_Converter = Callable[[str, object], Any]

_CONNECTION: Final = (
    "accountname",
    "accountkey",
    "connectionstring",
    "container",
    "credentials",
    "realm",
    "sastoken",
    "serviceurl",
)
# Which of them an option that is found wrong may have come from.
_OF_CONNECTION: Final = {
    "account_url": ("serviceurl", "accountname"),
    "credential": ("credentials",),
    "tenant_id": ("credentials.tenantid",),
    "client_id": ("credentials.clientid",),
    "secret": ("credentials.secret",),
    "account_name": ("accountname",),
    "account_key": ("accountkey",),
    "token": ("sastoken",),
}
# What ``credentials`` has besides its type.
_CREDENTIALS: Final[dict[str, tuple[str, ...]]] = {
    "shared_key": (),
    "client_secret": ("clientid", "tenantid", "secret"),
    "default_credentials": (),
    "anonymous": (),
}
_LAYOUT: Final = ("legacyrootprefix", "trimlegacyrootprefix")
_OPTIONS: Final[dict[str, tuple[str, _Converter]]] = {
    "rootdirectory": ("root_directory", _text),
    "skipverify": ("verify_tls", _not),
    "maxcontentbytes": ("max_content_bytes", _integer),
    "appendblockbytes": ("append_block_bytes", _integer),
    "blockbytes": ("block_bytes", _integer),
    "blocksinflight": ("blocks_in_flight", _integer),
    "writemode": ("write_mode", _text),
    "readrangebytes": ("read_range_bytes", _integer),
    "readrangesinflight": ("read_ranges_in_flight", _integer),
    "connections": ("connections", _integer),
    "maxrequestsinflight": ("max_requests_in_flight", _integer),
    "adaptivelimit": ("adaptive_limit", _boolean),
    "connecttimeout": ("connect_timeout_seconds", _seconds),
    "readtimeout": ("read_timeout_seconds", _seconds),
    "copytimeout": ("copy_timeout_seconds", _seconds),
    "useenvsettings": ("use_env_settings", _boolean),
    "leanlane": ("lean_lane", _boolean),
    "apiversion": ("api_version", _text),
}
_RETRY: Final[dict[str, tuple[str, _Converter]]] = {
    "max_retries": ("retries", _integer),
    "retry_delay": ("first_delay_seconds", _seconds),
    "raiseifunsure": ("raise_if_unsure", _boolean),
}


def _converted(
    given: Mapping[str, Any], table: Mapping[str, tuple[str, _Converter]]
) -> dict[str, Any]:
    return {
        option: convert(key, given[key]) for key, (option, convert) in table.items() if key in given
    }


def _legacy_root_prefix(given: Mapping[str, Any]) -> bool:
    if "legacyrootprefix" in given and "trimlegacyrootprefix" in given:
        raise _wrong("trimlegacyrootprefix", "contradicts legacyrootprefix: give one of them")
    if "trimlegacyrootprefix" in given:
        return not _boolean("trimlegacyrootprefix", given["trimlegacyrootprefix"])
    return _boolean("legacyrootprefix", given.get("legacyrootprefix", False))


def _connection(given: Mapping[str, Any]) -> tuple[str, Credential]:
    if "connectionstring" in given:
        for other in _CONNECTION:
            if other in given and other not in ("connectionstring", "container"):
                raise _wrong(other, "contradicts connectionstring: give one of them")
        return _parse_connection_string(_text("connectionstring", given["connectionstring"]))
    if "accountname" not in given:
        raise _wrong("accountname", "is missing (and so is connectionstring)")
    account = _text("accountname", given["accountname"])
    realm = _text("realm", given.get("realm", _DEFAULT_REALM))
    if "realm" in given and "serviceurl" in given:
        raise _wrong("realm", "contradicts serviceurl: give one of them")
    if not _HOST.fullmatch(realm):
        raise _wrong("realm", f"is not the name of a host: {shown(realm)}")
    account_url = _text("serviceurl", given.get("serviceurl", f"https://{account}.blob.{realm}"))
    return account_url.rstrip("/"), _credential(account, given)


def _credential(account: str, given: Mapping[str, Any]) -> Credential:
    kind, parts = _credentials(given.get("credentials", {}))
    if kind == "shared_key":
        if "accountkey" in given and "sastoken" in given:
            raise _wrong("sastoken", "contradicts accountkey: give one of them")
        if "sastoken" in given:
            return SasToken(_text("sastoken", given["sastoken"]))
        if "accountkey" not in given:
            raise _wrong("accountkey", "is missing (and so are sastoken and credentials)")
        return SharedKey(account, _text("accountkey", given["accountkey"]))
    for other in ("accountkey", "sastoken"):
        if other in given:
            raise _wrong(other, f"contradicts credentials of the type {kind}: give one of them")
    if kind == "client_secret":
        return ClientSecret(
            tenant_id=parts.get("tenantid", ""),
            client_id=parts.get("clientid", ""),
            secret=parts.get("secret", ""),
        )
    return DefaultCredential() if kind == "default_credentials" else Anonymous()


def _credentials(value: object) -> tuple[str, dict[str, Any]]:
    """The type of ``credentials``, and what else is in it."""
    if not isinstance(value, Mapping):
        raise _wrong("credentials", "is to be a mapping with a type")
    # As for the parameters themselves; an empty part is one that a template left out.
    parts = {str(key).lower(): part for key, part in value.items() if part not in (None, "")}
    kind = parts.pop("type", "shared_key")
    if not isinstance(kind, str) or kind not in _CREDENTIALS:
        known = ", ".join(_CREDENTIALS)
        raise _wrong("credentials", f"of the type {shown(kind)} are unknown; there are: {known}")
    for name in parts:
        if name not in _CREDENTIALS[kind]:
            known = ", ".join(("type", *_CREDENTIALS[kind]))
            raise _wrong(f"credentials.{name[:100]}", f"is unknown to {kind}, which has: {known}")
    return kind, parts


def _parse_connection_string(connection_string: str) -> tuple[str, SharedKey | SasToken]:
    _text("connectionstring", connection_string)
    fields: dict[str, str] = {}
    for part in connection_string.strip().rstrip(";").split(";"):
        key, separator, value = part.partition("=")
        if not separator or not key.strip():
            # Not the part itself: it may be the rest of a key.
            raise _wrong("connectionstring", "is to be of parts NAME=VALUE with ';' between them")
        fields[key.strip().lower()] = value.strip()
    if fields.get("usedevelopmentstorage", "").lower() == "true":
        return _parse_connection_string(_DEVELOPMENT_STORAGE)
    account = fields.get("accountname", "")
    endpoint = fields.get("blobendpoint", "")
    if not endpoint:
        if not account:
            raise _wrong("connectionstring", "has neither AccountName nor BlobEndpoint")
        scheme = fields.get("defaultendpointsprotocol", "https")
        suffix = fields.get("endpointsuffix", _DEFAULT_REALM)
        endpoint = f"{scheme}://{account}.blob.{suffix}"
    if "sharedaccesssignature" in fields:
        return endpoint.rstrip("/"), SasToken(fields["sharedaccesssignature"])
    if not account:
        raise _wrong("connectionstring", "has no AccountName")
    if not fields.get("accountkey"):
        raise _wrong("connectionstring", "has neither AccountKey nor SharedAccessSignature")
    return endpoint.rstrip("/"), SharedKey(account, fields["accountkey"])
