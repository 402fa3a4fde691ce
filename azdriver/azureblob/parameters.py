"""Options by the names that the container registry's configuration has for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from azdriver.azureblob.connectionstring import DEFAULT_REALM, parse_connection_string
from azdriver.azureblob.options import (
    ACCOUNT_NAME,
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
from azdriver.azureblob.parametertable import (
    CONNECTION,
    CREDENTIAL_PARAMETERS,
    CREDENTIALS,
    LAYOUT,
    OF_CONNECTION,
    OPTIONS,
    RETRY,
    Converter,
    boolean_of,
    text_of,
    wrong,
)
from azdriver.errors import ConfigurationError

__all__ = ["options_from_parameters"]

_HOST: Final = re.compile(r"[A-Za-z0-9.-]+")


def options_from_parameters(parameters: Mapping[str, Any]) -> AzureBlobOptions:
    """Options by the names that the container registry's configuration has for them.

    Args:
        parameters: ``container``, and either ``connectionstring`` or ``accountname`` with
            ``accountkey``, ``sastoken`` or ``credentials``; the others are optional.

    Raises:
        ConfigurationError: naming the parameter that is missing, unknown, contradictory or wrong.
    """
    given = {str(key).lower(): value for key, value in parameters.items() if value is not None}
    known = sorted({*CONNECTION, *OPTIONS, *RETRY, *LAYOUT})
    for key in given:
        if key not in known:
            name = key[:100] if "=" not in key else "(not shown)"  # a secret has equals signs
            raise wrong(name, f"is unknown; there are: {', '.join(known)}")
    if "container" not in given:
        raise wrong("container", "is missing")
    try:
        account_url, credential = _connection(given)
        return AzureBlobOptions(
            account_url=account_url,
            container=text_of("container", given["container"]),
            credential=credential,
            legacy_root_prefix=_legacy_root_prefix(given),
            retry=RetrySettings(**_converted(given, RETRY)),
            **_converted(given, OPTIONS),
        )
    except ConfigurationError as error:
        # What the options find wrong they call by their own names.
        raise wrong(_as_given(error.parameter, given), error.reason) from None


def _as_given(option: str, given: Mapping[str, Any]) -> str:
    """The parameter that an option came from."""
    if option in OF_CONNECTION:
        candidates = ("connectionstring", *OF_CONNECTION[option])
        return next((key for key in candidates if key in given), candidates[-1])
    names = {name: key for key, (name, _) in {**OPTIONS, **RETRY}.items()}
    return names.get(option, option)


def _converted(
    given: Mapping[str, Any], table: Mapping[str, tuple[str, Converter]]
) -> dict[str, Any]:
    return {
        option: convert(key, given[key]) for key, (option, convert) in table.items() if key in given
    }


def _legacy_root_prefix(given: Mapping[str, Any]) -> bool:
    if "legacyrootprefix" in given and "trimlegacyrootprefix" in given:
        raise wrong("trimlegacyrootprefix", "contradicts legacyrootprefix: give one of them")
    if "trimlegacyrootprefix" in given:
        return not boolean_of("trimlegacyrootprefix", given["trimlegacyrootprefix"])
    return boolean_of("legacyrootprefix", given.get("legacyrootprefix", False))


def _connection(given: Mapping[str, Any]) -> tuple[str, Credential]:
    if "connectionstring" in given:
        return _from_connection_string(given)
    account = text_of("accountname", given["accountname"]) if "accountname" in given else None
    if account is not None and not ACCOUNT_NAME.fullmatch(account):
        raise wrong("accountname", f"is not an account's name: {shown(account)}")
    if "realm" in given and "serviceurl" in given:
        raise wrong("realm", "contradicts serviceurl: give one of them")
    credential = _credential(account, given)
    if credential is None:
        raise wrong("accountkey", "is missing (and so are sastoken and credentials)")
    if "serviceurl" in given:
        return text_of("serviceurl", given["serviceurl"]), credential
    if account is None:
        raise _no_account()
    realm = text_of("realm", given.get("realm", DEFAULT_REALM))
    if not _HOST.fullmatch(realm):
        raise wrong("realm", f"is not the name of a host: {shown(realm)}")
    return f"https://{account}.blob.{realm}", credential


def _from_connection_string(given: Mapping[str, Any]) -> tuple[str, Credential]:
    connection = parse_connection_string(text_of("connectionstring", given["connectionstring"]))
    for other in ("accountname", "realm", "serviceurl"):
        if other in given:
            raise wrong(other, "contradicts connectionstring: give one of them")
    if connection.credential is not None:
        for other in CREDENTIAL_PARAMETERS:
            if other in given and other != "connectionstring":
                raise wrong(other, "contradicts the credential in connectionstring")
        return connection.account_url, connection.credential
    credential = _credential(connection.account_name, given)
    if credential is None:
        raise wrong("connectionstring", "has neither AccountKey nor SharedAccessSignature")
    return connection.account_url, credential


def _no_account() -> ConfigurationError:
    return wrong("accountname", "is missing (and so is connectionstring)")


def _credential(account: str | None, given: Mapping[str, Any]) -> Credential | None:
    kind, parts = _credentials(given.get("credentials", {}))
    if kind == "shared_key":
        if "accountkey" in given and "sastoken" in given:
            raise wrong("sastoken", "contradicts accountkey: give one of them")
        if "sastoken" in given:
            return SasToken(text_of("sastoken", given["sastoken"]))
        if "accountkey" not in given:
            return None
        if account is None:
            raise _no_account()
        return SharedKey(account, text_of("accountkey", given["accountkey"]))
    for other in ("accountkey", "sastoken"):
        if other in given:
            raise wrong(other, f"contradicts credentials of the type {kind}: give one of them")
    if kind == "client_secret":
        return ClientSecret(
            tenant_id=parts.get("tenantid", ""),
            client_id=parts.get("clientid", ""),
            secret=parts.get("secret", ""),
        )
    if kind == "default_credentials":
        return DefaultCredential(client_id=parts.get("clientid"))
    return Anonymous()


def _credentials(value: object) -> tuple[str, dict[str, Any]]:
    """The type of ``credentials``, and what else is in it."""
    if not isinstance(value, Mapping):
        raise wrong("credentials", "is to be a mapping with a type")
    # As for the parameters themselves; an empty part is one that a template left out.
    parts = {str(key).lower(): part for key, part in value.items() if part not in (None, "")}
    kind = parts.pop("type", "shared_key")
    if not isinstance(kind, str) or kind not in CREDENTIALS:
        known = ", ".join(CREDENTIALS)
        raise wrong("credentials", f"of the type {shown(kind)} are unknown; there are: {known}")
    for name in parts:
        if name not in CREDENTIALS[kind]:
            known = ", ".join(("type", *CREDENTIALS[kind]))
            raise wrong(f"credentials.{name[:100]}", f"is unknown to {kind}, which has: {known}")
    return kind, parts
