"""What the environment says about the account and the credential, as Azure's own tools read it.

https://learn.microsoft.com/azure/storage/blobs/authorize-data-operations-cli
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from azdriver.azureblob.connectionstring import account_of, parse_connection_string
from azdriver.azureblob.options import (
    DRIVER_NAME,
    AzureBlobOptions,
    SasToken,
    SharedKey,
    has_identity,
    shown,
)
from azdriver.azureblob.parameters import options_from_parameters
from azdriver.azureblob.parametertable import CREDENTIAL_PARAMETERS
from azdriver.errors import ConfigurationError

__all__ = ["VARIABLES", "options_from_environment"]

CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT"
KEY: Final = "AZURE_STORAGE_KEY"
SAS_TOKEN: Final = "AZURE_STORAGE_SAS_TOKEN"
SERVICE_ENDPOINT: Final = "AZURE_STORAGE_SERVICE_ENDPOINT"
AUTH_MODE: Final = "AZURE_STORAGE_AUTH_MODE"
VARIABLES: Final = {
    AUTH_MODE: "`login` signs in by `DefaultCredential`, `key` never does",
    CONNECTION_STRING: "the account's connection string",
    ACCOUNT: "the account's name",
    SERVICE_ENDPOINT: "the account's blob endpoint, where it is not the public cloud's",
    KEY: "one of the account's two keys",
    SAS_TOKEN: "a shared access signature",
}


class _Found(NamedTuple):
    value: Any
    variable: str


def options_from_environment(
    parameters: Mapping[str, Any], environ: Mapping[str, str]
) -> AzureBlobOptions:
    """Options out of parameters, and the account and the credential out of the environment.

    A parameter goes before the environment. What is missing is looked for in this order:

    1. ``AZURE_STORAGE_AUTH_MODE=login`` signs in by ``DefaultCredential``, whatever else is set.
    2. ``AZURE_STORAGE_CONNECTION_STRING``: the account, its endpoint and the credential.
    3. ``AZURE_STORAGE_KEY``, then ``AZURE_STORAGE_SAS_TOKEN``, for ``AZURE_STORAGE_ACCOUNT``, at
       ``AZURE_STORAGE_SERVICE_ENDPOINT`` if that is set.
    4. ``DefaultCredential``, unless ``AZURE_STORAGE_AUTH_MODE=key``.

    A credential of another account than the parameters name is an error, and is never sent.

    Raises:
        ConfigurationError: naming the parameter, or the variable, that is missing or wrong.
    """
    given = {str(key).lower(): value for key, value in parameters.items() if value is not None}
    if "connectionstring" in given:
        return options_from_parameters(given)  # which says everything
    of_endpoint = account_of(str(given.get("serviceurl", "")))
    if of_endpoint is not None:
        account = given.setdefault("accountname", of_endpoint)
        if account != of_endpoint and not any(name in given for name in CREDENTIAL_PARAMETERS):
            reason = f"is of the account {shown(of_endpoint)}, not of {shown(account)}"
            raise _wrong("serviceurl", reason)
    found = _found(given, {name: environ[name] for name in VARIABLES if environ.get(name)})
    try:
        return options_from_parameters({**{name: it.value for name, it in found.items()}, **given})
    except ConfigurationError as error:
        parameter, _, _ = error.parameter.partition(".")
        if parameter not in found:
            raise
        wrong = _wrong(found[parameter].variable, error.reason)
    raise wrong


def _found(given: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, _Found]:
    """The parameters that the environment adds, each with the variable that it is of."""
    mode = variables.get(AUTH_MODE, "")
    if mode not in ("", "key", "login"):
        raise _wrong(AUTH_MODE, f"is 'key' or 'login', not {shown(mode)}")
    needs_credential = not any(name in given for name in CREDENTIAL_PARAMETERS)
    found: dict[str, _Found] = {}
    if needs_credential and mode != "login" and CONNECTION_STRING in variables:
        found = _of_connection_string(given, variables)
    elif ACCOUNT in variables or SERVICE_ENDPOINT in variables:
        found = _of_account(given, variables)
    account = given.get("accountname", found["accountname"].value if "accountname" in found else "")
    if not account and "serviceurl" not in given:
        raise _wrong("accountname", f"is missing: give it, or set {ACCOUNT}")
    if needs_credential and not {"accountkey", "sastoken"} & found.keys():
        found |= _credential(account, variables, mode)
        if "credentials" in found and mode != "login":
            url = given.get(
                "serviceurl", found["serviceurl"].value if "serviceurl" in found else ""
            )
            if mode == "key" or not has_identity() or str(url).startswith("http:"):
                names = f"{CONNECTION_STRING}, {KEY} or {SAS_TOKEN}"
                reason = f"are missing, and so are {names} in the environment"
                raise _wrong("credentials", reason)
    # An endpoint that is given goes before one that is found.
    if "realm" in given or "serviceurl" in given:
        found.pop("serviceurl", None)
    return {name: it for name, it in found.items() if name not in given}


def _of_connection_string(
    given: Mapping[str, Any], variables: Mapping[str, str]
) -> dict[str, _Found]:
    try:
        connection = parse_connection_string(variables[CONNECTION_STRING])
    except ConfigurationError as error:
        wrong = _wrong(CONNECTION_STRING, error.reason)
    else:
        account, credential = connection.account_name, connection.credential
        for other, wanted in (
            ("the one that is asked for", given.get("accountname")),
            (ACCOUNT, variables.get(ACCOUNT)),
        ):
            if wanted is not None and wanted != account:
                whose = (
                    f"of the account {shown(account)}" if account else "of no account that it names"
                )
                reason = f"is {whose}, not of {shown(wanted)} ({other})"
                raise _wrong(CONNECTION_STRING, reason)
        values: dict[str, Any] = {"serviceurl": connection.account_url, "accountname": account}
        if isinstance(credential, SharedKey):
            values["accountkey"] = credential.account_key
        elif isinstance(credential, SasToken):
            values["sastoken"] = credential.token
        return {name: _Found(value, CONNECTION_STRING) for name, value in values.items() if value}
    raise wrong


def _of_account(given: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, _Found]:
    endpoint = variables.get(SERVICE_ENDPOINT, "")
    of_endpoint = account_of(endpoint)
    account = variables.get(ACCOUNT, of_endpoint)
    if of_endpoint not in (None, account):
        reason = f"is of the account {shown(of_endpoint)}, not of {shown(account)} ({ACCOUNT})"
        raise _wrong(SERVICE_ENDPOINT, reason)
    wanted = given.get("accountname", account)
    if account not in (None, wanted):
        return {}  # it is all about another account
    found = {}
    if account is not None:
        found["accountname"] = _Found(
            account, ACCOUNT if ACCOUNT in variables else SERVICE_ENDPOINT
        )
    if endpoint:
        found["serviceurl"] = _Found(endpoint, SERVICE_ENDPOINT)
    return found


def _credential(account: str, variables: Mapping[str, str], mode: str) -> dict[str, _Found]:
    if mode != "login":
        for variable, parameter in ((KEY, "accountkey"), (SAS_TOKEN, "sastoken")):
            if variable in variables:
                owner = variables.get(ACCOUNT) or account_of(variables.get(SERVICE_ENDPOINT, ""))
                if owner not in (None, account):
                    reason = f"is of the account {shown(owner)}, not of {shown(account)}"
                    raise _wrong(variable, reason)
                return {parameter: _Found(variables[variable], variable)}
    return {
        "credentials": _Found({"type": "default_credentials"}, AUTH_MODE if mode else "credentials")
    }


def _wrong(parameter: str, reason: str) -> ConfigurationError:
    return ConfigurationError(DRIVER_NAME, parameter, reason)
