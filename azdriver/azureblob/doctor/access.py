"""What is to be known of the endpoint, the clock and the credential."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

from azure.core.exceptions import AzureError

from azdriver.azureblob.doctor.asking import About
from azdriver.azureblob.doctor.diagnosis import Answer, Finding
from azdriver.azureblob.options import Anonymous, AzureBlobOptions, SasToken, SharedKey
from azdriver.azureblob.translate import backend_error, error_code, status_of

__all__ = ["about_clock", "about_container", "about_credential"]

SKEW_TO_WARN_SECONDS: Final = 60.0
SKEW_REFUSED_SECONDS: Final = 15 * 60.0  # signatures and shared keys are refused from there on
DAYS_TO_WARN: Final = 14

_NEEDED: Final = ("read", "list", "write", "append", "delete")
_SAS_LETTERS: Final = {
    "read": "r",
    "list": "l",
    "write": "w (and c)",
    "append": "a (and w)",
    "delete": "d",
    "tags": "t",
}
_ADVICE: Final = {
    "AuthenticationFailed": "check the account's name, its key or the SAS token, and the clock",
    "AuthorizationFailure": "the account's network rules may not let this machine through",
    "AuthorizationPermissionMismatch": "grant the role Storage Blob Data Contributor",
    "InvalidAuthenticationInfo": "the token is of another tenant or audience",
    "NoAuthenticationInformation": "set a credential",
    "PublicAccessNotPermitted": "set a credential: the account allows no anonymous access",
}


def about_container(about: About, options: AzureBlobOptions) -> Iterator[Finding]:
    """Whether it is there, and answers."""
    error = about.failure
    if about.is_emulator:
        yield Finding("info", "emulator", "this is Azurite, not the service")
    if about.is_there is False:
        yield Finding(
            "error",
            "container-missing",
            f"there is no container {options.container}",
            "create it, or open a driver with a credential that may: that creates it",
        )
    elif error is not None and status_of(error) is None:
        reason = backend_error(error, "", "doctor").describe()
        yield Finding(
            "error",
            "no-answer",
            f"{options.account_url} gives no answer: {reason}",
            "check the endpoint, the network and the credential",
        )
    elif error is not None and not isinstance(options.credential, Anonymous):
        yield Finding(
            "warning",
            "container-not-asked",
            f"the container's properties may not be read ({_answer(error)})",
            _ADVICE.get(error_code(error), ""),
        )


def _answer(error: AzureError) -> str:
    return " ".join(str(part) for part in (status_of(error), error_code(error)) if part)


def about_clock(skew_seconds: float | None) -> Iterator[Finding]:
    """Signatures and keys are refused by a clock that is far off."""
    if skew_seconds is None or abs(skew_seconds) < SKEW_TO_WARN_SECONDS:
        return
    is_refused = abs(skew_seconds) >= SKEW_REFUSED_SECONDS
    side = "behind" if skew_seconds > 0 else "ahead of"
    yield Finding(
        "error" if is_refused else "warning",
        "clock-skew",
        f"this machine's clock is {abs(skew_seconds):.0f} s {side} the service's",
        "set it by NTP: requests with a key, and signed URLs, are refused from 15 minutes on",
    )


def about_credential(
    options: AzureBlobOptions, may: Mapping[str, Answer], *, is_reached: bool
) -> Iterator[Finding]:
    """What it may not do, and when it ends."""
    credential = options.credential
    if isinstance(credential, SasToken):
        yield from _about_sas(credential)
    if not is_reached:
        return
    for name in _NEEDED:
        if may.get(name) == "no":
            is_error = name in ("read", "list")
            yield Finding(
                "error" if is_error else "warning",
                f"may-not-{name}",
                f"the credential may not {name} {'blobs' if name != 'append' else 'to blobs'}",
                _grant(options, name),
            )
    if may.get("sign") == "no":
        is_token = not isinstance(credential, SharedKey | SasToken | Anonymous)
        yield Finding(
            "warning" if is_token else "info",
            "may-not-sign",
            "url_for cannot sign with this credential",
            "grant the role Storage Blob Delegator on the account"
            if is_token
            else "use an account key or a token credential, if URLs are wanted",
        )
    if may.get("create_container") == "no":
        yield Finding(
            "info",
            "may-not-create-container",
            "the credential may not create containers; this one is there, so none is needed",
        )
    if may.get("tags") == "no" and not isinstance(credential, Anonymous):
        yield Finding(
            "info",
            "may-not-tags",
            "the credential may not read blobs' index tags, which a migration would leave behind",
            _grant(options, "tags"),
        )


def _grant(options: AzureBlobOptions, name: str) -> str:
    credential = options.credential
    if isinstance(credential, SasToken):
        return f"make the SAS token with the permission {_SAS_LETTERS[name]}"
    if isinstance(credential, Anonymous):
        return (
            "make the container public (access level 'container'), or set a credential"
            if name in ("read", "list")
            else "set a credential"
        )
    if isinstance(credential, SharedKey):
        return "an account key may do all of this: look for locks and network rules"
    if name == "tags":
        return "grant the role Storage Blob Data Owner"
    if name in ("read", "list"):
        return "grant the role Storage Blob Data Reader, or Contributor to write as well"
    return "grant the role Storage Blob Data Contributor"


def _about_sas(credential: SasToken) -> Iterator[Finding]:
    # Of its fields only those are looked at that say nothing about its signature.
    query = parse_qs(credential.token.lstrip("?"))
    ends = _moment(query.get("se", [""])[0])
    begins = _moment(query.get("st", [""])[0])
    now = datetime.now(UTC)
    if begins is not None and begins > now:
        yield Finding(
            "error", "sas-not-yet", f"the SAS token is good from {begins:%Y-%m-%d %H:%M} UTC on"
        )
    if ends is None:
        return
    left = (ends - now).total_seconds() / 86_400
    if left <= 0:
        yield Finding(
            "error",
            "sas-ended",
            f"the SAS token ended at {ends:%Y-%m-%d %H:%M} UTC",
            "make another",
        )
    else:
        yield Finding(
            "warning" if left < DAYS_TO_WARN else "info",
            "sas-ends",
            f"the SAS token ends at {ends:%Y-%m-%d %H:%M} UTC, in {left:.1f} days",
        )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
