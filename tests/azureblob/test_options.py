"""The options: each wrong one named, none changed afterwards, no secret shown."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from azdriver import AzureBlobDriver, AzureBlobOptions, ConfigurationError
from azdriver.azureblob import (
    Anonymous,
    ClientSecret,
    DefaultCredential,
    RetrySettings,
    SasToken,
    SharedKey,
)
from azdriver.azureblob.options import Credential
from azdriver.testing.tokens import LocalCredential

MIB = 1024 * 1024
KEY = "c2VjcmV0LWFjY291bnQta2V5LW9mLXRoZS10ZXN0cw=="
SAS = "sv=2021-12-02&sr=c&sp=rl&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"
NEEDED: dict[str, Any] = {
    "account_url": "https://account.blob.core.windows.net",
    "container": "registry",
    "credential": SharedKey("account", KEY),
}


class Blocking:
    """A credential for code that blocks, as those right below ``azure.identity``."""

    def get_token(self, *scopes: str, **kwargs: Any) -> Any:
        raise AssertionError("asked for a token")


WRONG = [
    *(("account_url", url) for url in ("", "account", "ftp://account", "//account")),
    *(("account_url", url) for url in ("https://", "https:///path", "https://host:port/")),
    *(("account_url", url) for url in (f"https://user:{KEY}@host", "https://[::1")),
    ("account_url", f"https://account.blob.core.windows.net?{SAS}"),
    ("account_url", "https://account.blob.core.windows.net/#part"),
    *(("container", name) for name in ("", "ab", "a" * 64, "Upper", "under_score", "a.b")),
    *(("container", name) for name in ("-a-b", "a-b-", "a--b", "a b c", "abc\n", "abc/d", "..")),
    *(("container", name) for name in ("a/../b", "$other", "é" * 3)),
    *(("credential", it) for it in (None, KEY, ("account", KEY), Blocking(), LocalCredential)),
    *(
        ("root_directory", root)
        for root in ("a//b", "a b", "..", "a/../b", "a/./b", "a\n", "a%2Fb")
    ),
    *(("root_directory", root) for root in ("a\\b", "é", "x" * 1024)),
    *(("write_mode", mode) for mode in ("", "page", None)),
    *(("max_content_bytes", n) for n in (0, -1, 5000 * MIB + 1)),
    *(("append_block_bytes", n) for n in (0, -1, 100 * MIB + 1)),
    *(("block_bytes", n) for n in (0, -1, 4000 * MIB + 1)),
    *(("blocks_in_flight", n) for n in (0, -1)),
    *(("read_ranges_in_flight", n) for n in (0, -1)),
    *(("read_range_bytes", n) for n in (0, -1)),
    *(("connections", n) for n in (0, -1)),
    *(("max_requests_in_flight", n) for n in (0, -1, 2.5, True)),
    *(("connect_timeout_seconds", n) for n in (0, -1.0, math.nan)),
    *(("pool_timeout_seconds", n) for n in (0, -1.0, math.nan)),
    *(("read_timeout_seconds", n) for n in (0, -1.0, math.nan)),
    *(("copy_poll_seconds", n) for n in (0, -1.0, math.nan)),
    *(("copy_timeout_seconds", n) for n in (0, -1.0, math.nan)),
]

WRONG_RETRIES = [
    ("retries", -1),
    *(("first_delay_seconds", n) for n in (0, -1.0, math.nan)),
    *(("longest_delay_seconds", n) for n in (0, -1.0, math.nan)),
    *(("attempt_seconds", n) for n in (0, -1.0, math.nan)),
    *(("total_seconds", n) for n in (0, -1.0, math.nan)),
    *(("slowest_bytes_per_second", n) for n in (0, -1)),
]


@pytest.mark.parametrize(("parameter", "value"), WRONG)
def test_a_wrong_option_is_named(parameter: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AzureBlobOptions(**{**NEEDED, parameter: value})
    assert caught.value.parameter == parameter
    assert str(caught.value).startswith(f"azure: parameter {parameter}: ")
    assert KEY not in str(caught.value)
    assert "sig=" not in str(caught.value)


def test_every_option_that_can_be_wrong_is_among_them() -> None:
    flags = {
        "adaptive_limit",
        "create_container",
        "lean_lane",
        "legacy_root_prefix",
        "use_env_settings",
        "verify_tls",
    }
    elsewhere = {"retry", "api_version"}
    options = {field.name for field in dataclasses.fields(AzureBlobOptions)}
    assert options - flags - elsewhere == {parameter for parameter, _ in WRONG}
    retries = {field.name for field in dataclasses.fields(RetrySettings)}
    assert retries - {"raise_if_unsure"} == {parameter for parameter, _ in WRONG_RETRIES}


@pytest.mark.parametrize(("parameter", "value"), WRONG_RETRIES)
def test_a_wrong_retry_setting_is_named(parameter: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RetrySettings(**{parameter: value})
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("parameter", "arguments"),
    [
        ("account_name", ("", KEY)),
        ("account_key", ("account", "")),
        ("account_key", ("account", f"{KEY}!")),
        ("account_key", ("account", KEY[1:])),
    ],
)
def test_a_wrong_account_key_is_named_not_shown(parameter: str, arguments: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SharedKey(*arguments)
    assert caught.value.parameter == parameter
    assert KEY[1:] not in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "arguments"),
    [
        ("tenant_id", ("", "c", KEY)),
        ("tenant_id", ("a/b", "c", KEY)),
        ("tenant_id", ("tenant\n", "c", KEY)),
        ("client_id", ("t", "", KEY)),
        ("client_id", ("t", 5, KEY)),
        ("secret", ("t", "c", "")),
        ("secret", ("t", "c", KEY.encode())),
    ],
)
def test_a_wrong_client_secret_is_named_not_shown(parameter: str, arguments: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClientSecret(*arguments)
    assert caught.value.parameter == parameter
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "credential",
    [LocalCredential(), ClientSecret("t", "c", KEY), DefaultCredential(), Anonymous()],
    ids=lambda credential: type(credential).__name__,
)
def test_every_kind_of_credential_is_taken(credential: Credential) -> None:
    options = AzureBlobOptions(**{**NEEDED, "credential": credential})
    assert options.credential is credential


@pytest.mark.parametrize("token", ["", "?"])
def test_an_empty_sas_token_is_named(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SasToken(token)
    assert caught.value.parameter == "token"


async def test_a_version_of_the_protocol_that_the_sdk_does_not_know_is_named() -> None:
    options = AzureBlobOptions(**NEEDED, api_version="1999-01-01")
    with pytest.raises(ConfigurationError, match="parameter api_version: "):
        async with AzureBlobDriver(options):
            pass


@pytest.mark.parametrize("parameter", NEEDED)
def test_what_is_needed_cannot_be_left_out(parameter: str) -> None:
    rest = {name: value for name, value in NEEDED.items() if name != parameter}
    with pytest.raises(TypeError, match=parameter):
        AzureBlobOptions(**rest)


@pytest.mark.parametrize(
    "container", ["abc", "a" * 63, "123", "a-b", "a-1-b", "$root", "$web", "$logs"]
)
def test_every_container_name_of_the_service_is_taken(container: str) -> None:
    assert AzureBlobOptions(**{**NEEDED, "container": container}).container == container


@pytest.mark.parametrize("root", ["", "/", "a", "/a/", "a/b.c/_-", "..."])
def test_a_root_directory_may_have_slashes_around_it(root: str) -> None:
    assert AzureBlobOptions(**NEEDED, root_directory=root).root_directory == root


def test_a_slash_at_the_end_of_the_account_url_is_not_doubled() -> None:
    options = AzureBlobOptions(**{**NEEDED, "account_url": "http://127.0.0.1:10000/account/"})
    assert options.account_url == "http://127.0.0.1:10000/account"


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_content_bytes", 5000 * MIB),
        ("append_block_bytes", 100 * MIB),
        ("append_block_bytes", 1),
        ("read_range_bytes", 1),
        ("connections", 1),
        ("max_requests_in_flight", 1),
    ],
)
def test_the_bounds_themselves_are_taken(parameter: str, value: int) -> None:
    assert getattr(AzureBlobOptions(**{**NEEDED, parameter: value}), parameter) == value


def test_no_retries_at_all_may_be_asked_for() -> None:
    assert RetrySettings(retries=0).retries == 0


def test_the_waits_double_up_to_the_longest_one() -> None:
    settings = RetrySettings(first_delay_seconds=0.5, longest_delay_seconds=3)
    assert [settings.delay(attempt, 1.0) for attempt in range(5)] == [0.5, 1, 2, 3, 3]
    assert [settings.delay(attempt, 0.0) for attempt in range(5)] == [0.25, 0.5, 1, 1.5, 1.5]
    assert settings.delay(100_000, 1.0) == 3


@pytest.mark.parametrize(
    "instance",
    [
        AzureBlobOptions(**NEEDED),
        RetrySettings(),
        SharedKey("account", KEY),
        SasToken(SAS),
        ClientSecret("t", "c", KEY),
        DefaultCredential(),
        Anonymous(),
    ],
    ids=lambda instance: type(instance).__name__,
)
def test_options_are_frozen(instance: Any) -> None:
    for field in dataclasses.fields(instance):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(instance, field.name, getattr(instance, field.name))
    # ``TypeError`` on CPython 3.11: a frozen class with slots stumbles over its own ``super()``.
    with pytest.raises((AttributeError, TypeError)):
        instance.another = 1


@pytest.mark.parametrize("options_class", [AzureBlobOptions, RetrySettings])
def test_options_are_given_by_their_names_only(options_class: type[Any]) -> None:
    assert all(field.kw_only for field in dataclasses.fields(options_class))
    with pytest.raises(TypeError, match="positional"):
        options_class(*NEEDED.values())


@pytest.mark.parametrize(
    "credential", [SharedKey("account", KEY), SasToken(SAS), ClientSecret("t", "c", KEY)]
)
def test_no_secret_is_in_a_repr(credential: Credential) -> None:
    options = AzureBlobOptions(**{**NEEDED, "credential": credential})
    shown = [repr(it) for it in (credential, options, AzureBlobDriver(options))]
    shown += [str(options), f"{options}", str(AzureBlobDriver(options))]
    for text in shown:
        assert KEY not in text
        assert "sig=" not in text
    assert "registry" in repr(options)
