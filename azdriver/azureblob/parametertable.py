"""The parameters' names, the options that they set, and how a value is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from azdriver.azureblob.options import DRIVER_NAME, shown
from azdriver.errors import ConfigurationError

__all__ = [
    "CONNECTION",
    "CREDENTIALS",
    "CREDENTIAL_PARAMETERS",
    "LAYOUT",
    "OF_CONNECTION",
    "OPTIONS",
    "RETRY",
    "Converter",
    "boolean_of",
    "opposite_of",
    "text_of",
    "wrong",
]


def wrong(parameter: str, reason: str) -> ConfigurationError:
    return ConfigurationError(DRIVER_NAME, parameter, reason)


def text_of(parameter: str, value: object) -> str:
    if not isinstance(value, str):
        raise wrong(parameter, f"is to be a text, not {type(value).__name__}")
    return value


def _integer(parameter: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise wrong(parameter, f"is to be a whole number, not {shown(value)}") from None


def boolean_of(parameter: str, value: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise wrong(parameter, f"is to be true or false, not {shown(value)}") from None


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
        raise wrong(parameter, f"is to be seconds or a duration such as 100ms, not {shown(value)}")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def opposite_of(parameter: str, value: object) -> bool:
    return not boolean_of(parameter, value)


Converter = Callable[[str, object], Any]

CONNECTION: Final[dict[str, str]] = {
    "container": "the container's name",
    "connectionstring": "the account's connection string: endpoint, account and credential in one",
    "accountname": "the account's name",
    "accountkey": "one of the account's two keys",
    "sastoken": "a shared access signature, with or without the `?`",
    "credentials": "another kind of credential: a mapping with a `type`",
    "realm": "the end of the endpoint's host, `core.windows.net` unless it is another cloud's",
    "serviceurl": "the whole endpoint, for Azurite or a domain of your own",
}
CREDENTIAL_PARAMETERS: Final = ("connectionstring", "accountkey", "sastoken", "credentials")
# Which of them an option that is found wrong may have come from.
OF_CONNECTION: Final = {
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
CREDENTIALS: Final[dict[str, tuple[str, ...]]] = {
    "shared_key": (),
    "client_secret": ("clientid", "tenantid", "secret"),
    "default_credentials": ("clientid",),
    "anonymous": (),
}
LAYOUT: Final[dict[str, str]] = {
    "legacyrootprefix": "the leading slash of paths is kept, as the registry 2.0 to 2.8 did",
    "trimlegacyrootprefix": "the opposite of `legacyrootprefix`, as GitLab's registry has it",
}
OPTIONS: Final[dict[str, tuple[str, Converter]]] = {
    "rootdirectory": ("root_directory", text_of),
    "skipverify": ("verify_tls", opposite_of),
    "maxcontentbytes": ("max_content_bytes", _integer),
    "appendblockbytes": ("append_block_bytes", _integer),
    "blockbytes": ("block_bytes", _integer),
    "blocksinflight": ("blocks_in_flight", _integer),
    "writemode": ("write_mode", text_of),
    "readrangebytes": ("read_range_bytes", _integer),
    "readrangesinflight": ("read_ranges_in_flight", _integer),
    "connections": ("connections", _integer),
    "maxrequestsinflight": ("max_requests_in_flight", _integer),
    "adaptivelimit": ("adaptive_limit", boolean_of),
    "connecttimeout": ("connect_timeout_seconds", _seconds),
    "pooltimeout": ("pool_timeout_seconds", _seconds),
    "readtimeout": ("read_timeout_seconds", _seconds),
    "copypoll": ("copy_poll_seconds", _seconds),
    "copytimeout": ("copy_timeout_seconds", _seconds),
    "useenvsettings": ("use_env_settings", boolean_of),
    "createcontainer": ("create_container", boolean_of),
    "leanlane": ("lean_lane", boolean_of),
    "apiversion": ("api_version", text_of),
}
RETRY: Final[dict[str, tuple[str, Converter]]] = {
    "max_retries": ("retries", _integer),
    "retry_delay": ("first_delay_seconds", _seconds),
    "longestretrydelay": ("longest_delay_seconds", _seconds),
    "attempttimeout": ("attempt_seconds", _seconds),
    "totaltimeout": ("total_seconds", _seconds),
    "slowestbytespersecond": ("slowest_bytes_per_second", _integer),
    "raiseifunsure": ("raise_if_unsure", boolean_of),
}
