"""Options out of the registry's parameters and out of connection strings."""

from __future__ import annotations

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
from azdriver.azureblob.connectionstring import account_of, options_from_connection_string
from azdriver.azureblob.options import Credential
from azdriver.azureblob.parameters import options_from_parameters

MIB = 1024 * 1024
KEY = "c2VjcmV0LWFjY291bnQta2V5LW9mLXRoZS10ZXN0cw=="
SAS = "sv=2021-12-02&sr=c&sp=rl&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"
SECRETS = (KEY, KEY[:20], "c2VjcmV0LXNpZ25hdHVyZQ")
GIVEN: dict[str, Any] = {"accountname": "account", "accountkey": KEY, "container": "registry"}
CONNECTION_STRING = f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY}"


SECRET_PARTS = {"tenantid": "t", "clientid": "c", "secret": KEY}
DEFAULT = {"type": "default_credentials"}


def client_secret(**parts: Any) -> dict[str, Any]:
    credentials = {"type": "client_secret", **SECRET_PARTS, **parts}
    return {"accountkey": None, "credentials": credentials}


def with_connection_string(text: object, **more: Any) -> dict[str, Any]:
    return {"connectionstring": text, "container": "registry", **more}


def test_the_registrys_three_parameters_are_enough() -> None:
    options = options_from_parameters(GIVEN)
    assert options == AzureBlobOptions(
        account_url="https://account.blob.core.windows.net",
        container="registry",
        credential=SharedKey("account", KEY),
    )


def test_every_parameter_reaches_its_option() -> None:
    options = options_from_parameters(
        {
            **GIVEN,
            "serviceurl": "http://127.0.0.1:10000/account/",
            "rootdirectory": "/some/root",
            "legacyrootprefix": "true",
            "credentials": {"type": "shared_key"},
            "skipverify": True,
            "maxcontentbytes": "1048576",
            "appendblockbytes": 8 * MIB,
            "readrangebytes": 2 * MIB,
            "connections": "7",
            "writemode": "block",
            "blockbytes": MIB,
            "blocksinflight": 2,
            "readrangesinflight": "1",
            "maxrequestsinflight": "9",
            "adaptivelimit": "false",
            "connecttimeout": "2s",
            "pooltimeout": "3s",
            "copypoll": "10ms",
            "readtimeout": "1m",
            "copytimeout": "1h",
            "useenvsettings": "yes",
            "createcontainer": "no",
            "leanlane": "no",
            "apiversion": "2021-12-02",
            "max_retries": 3,
            "retry_delay": "100ms",
            "longestretrydelay": "5s",
            "attempttimeout": "10s",
            "totaltimeout": "1m30s",
            "slowestbytespersecond": 1024,
            "raiseifunsure": "true",
        }
    )
    assert options == AzureBlobOptions(
        account_url="http://127.0.0.1:10000/account",
        container="registry",
        credential=SharedKey("account", KEY),
        root_directory="/some/root",
        legacy_root_prefix=True,
        verify_tls=False,
        max_content_bytes=MIB,
        append_block_bytes=8 * MIB,
        read_range_bytes=2 * MIB,
        connections=7,
        write_mode="block",
        block_bytes=MIB,
        blocks_in_flight=2,
        read_ranges_in_flight=1,
        max_requests_in_flight=9,
        adaptive_limit=False,
        connect_timeout_seconds=2,
        pool_timeout_seconds=3,
        copy_poll_seconds=0.01,
        read_timeout_seconds=60,
        copy_timeout_seconds=3600,
        use_env_settings=True,
        create_container=False,
        lean_lane=False,
        api_version="2021-12-02",
        retry=RetrySettings(
            retries=3,
            first_delay_seconds=0.1,
            longest_delay_seconds=5,
            attempt_seconds=10,
            total_seconds=90,
            slowest_bytes_per_second=1024,
            raise_if_unsure=True,
        ),
    )


def test_names_are_taken_in_any_case_and_nothing_is_left_out_by_none() -> None:
    given = {"AccountName": "account", "ACCOUNTKEY": KEY, "Container": "registry", "realm": None}
    assert options_from_parameters(given) == options_from_parameters(GIVEN)


def test_a_realm_is_the_end_of_the_endpoint() -> None:
    options = options_from_parameters({**GIVEN, "realm": "core.chinacloudapi.cn"})
    assert options.account_url == "https://account.blob.core.chinacloudapi.cn"


@pytest.mark.parametrize("token", [SAS, f"?{SAS}"])
def test_a_sas_token_stands_for_the_key(token: str) -> None:
    given = {"accountname": "account", "container": "registry", "sastoken": token}
    assert options_from_parameters(given).credential == SasToken(token)


@pytest.mark.parametrize(
    ("credentials", "credential"),
    [
        (
            {"type": "client_secret", "tenantid": "t", "clientid": "c", "secret": KEY},
            ClientSecret("t", "c", KEY),
        ),
        (
            {"Type": "client_secret", "TenantID": "t", "ClientId": "c", "SECRET": KEY},
            ClientSecret("t", "c", KEY),
        ),
        ({"type": "default_credentials"}, DefaultCredential()),
        # What a template leaves empty is not there.
        ({"type": "default_credentials", "clientid": None, "secret": ""}, DefaultCredential()),
        ({"type": "default_credentials", "clientid": "c"}, DefaultCredential("c")),
        ({"type": "anonymous"}, Anonymous()),
    ],
)
def test_credentials_by_their_type(credentials: dict[str, Any], credential: Credential) -> None:
    given = {"accountname": "account", "container": "registry", "credentials": credentials}
    assert options_from_parameters(given) == AzureBlobOptions(
        account_url="https://account.blob.core.windows.net",
        container="registry",
        credential=credential,
    )


@pytest.mark.parametrize(
    ("given", "legacy"),
    [
        ({}, False),
        ({"legacyrootprefix": True}, True),
        ({"legacyrootprefix": "no"}, False),
        ({"trimlegacyrootprefix": True}, False),
        ({"trimlegacyrootprefix": "false"}, True),
    ],
)
def test_the_two_names_of_the_legacy_layout_are_opposites(
    given: dict[str, Any], legacy: bool
) -> None:
    assert options_from_parameters({**GIVEN, **given}).legacy_root_prefix is legacy


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (2, 2.0),
        (0.5, 0.5),
        ("2", 2.0),
        ("0.25", 0.25),
        ("100ms", 0.1),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("1m", 60.0),
        ("1.5h", 5400.0),
        # As Go's ``Duration.String`` writes them.
        ("1m30s", 90.0),
        ("1h0m0.5s", 3600.5),
        ("2m0s", 120.0),
        ("250µs", 0.00025),
        ("500us", 0.0005),
        ("100000000ns", 0.1),
    ],
)
def test_durations_are_seconds_or_what_go_writes(duration: object, seconds: float) -> None:
    options = options_from_parameters({**GIVEN, "retry_delay": duration})
    assert options.retry.first_delay_seconds == pytest.approx(seconds)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("container", {"container": None}),
    ("container", {"container": 5}),
    ("container", {"container": ""}),
    ("container", {"container": "Not_A_Container"}),
    ("accountname", {"accountname": None}),
    ("accountname", {"accountname": 5}),
    ("accountname", {"accountname": ""}),
    ("accountkey", {"accountkey": None}),
    ("accountkey", {"accountkey": 5}),
    ("accountkey", {"accountkey": ""}),
    ("accountkey", {"accountkey": f"{KEY}!"}),
    ("sastoken", {"sastoken": SAS}),
    ("sastoken", {"sastoken": 5, "accountkey": None}),
    ("sastoken", {"sastoken": "", "accountkey": None}),
    ("realm", {"realm": "core.windows.net", "serviceurl": "https://host"}),
    ("realm", {"realm": 5}),
    ("serviceurl", {"serviceurl": 5}),
    ("serviceurl", {"serviceurl": "account.blob.core.windows.net"}),
    ("serviceurl", {"serviceurl": f"https://host?{SAS}"}),
    ("credentials", {"credentials": "shared_key"}),
    ("credentials", {"credentials": {"type": "nonsense", "secret": KEY}}),
    ("credentials", {"credentials": {"type": ["shared_key"]}}),
    ("credentials.secret", {"credentials": {"secret": KEY}}),
    ("credentials.secret", {"credentials": {"type": "shared_key", "secret": KEY}}),
    ("accountkey", {"credentials": {"type": "anonymous"}}),
    ("accountkey", {"credentials": {"type": "default_credentials"}}),
    ("sastoken", {"accountkey": None, "sastoken": SAS, "credentials": {"type": "anonymous"}}),
    *((f"credentials.{part}", client_secret(**{part: None})) for part in SECRET_PARTS),
    *((f"credentials.{part}", client_secret(**{part: ""})) for part in SECRET_PARTS),
    *((f"credentials.{part}", client_secret(**{part: 5})) for part in SECRET_PARTS),
    ("credentials.tenantid", client_secret(tenantid="a/b")),
    ("credentials.user", client_secret(user=KEY)),
    ("credentials.clientid", {"accountkey": None, "credentials": {**DEFAULT, "clientid": 5}}),
    ("credentials.tenantid", {"accountkey": None, "credentials": {**DEFAULT, "tenantid": "t"}}),
    ("accountname", {"accountname": "evil.example/a"}),
    ("serviceurl", {"accountkey": None, "credentials": DEFAULT, "serviceurl": "http://host"}),
    ("connectionstring", with_connection_string(5)),
    ("connectionstring", with_connection_string("")),
    ("connectionstring", with_connection_string(KEY[:-2])),
    ("connectionstring", with_connection_string(f"AccountName=account;{KEY[:-2]}")),
    ("connectionstring", with_connection_string(f"={KEY}")),
    ("connectionstring", with_connection_string(f"AccountKey={KEY}")),
    ("connectionstring", with_connection_string("AccountName=account")),
    ("connectionstring", with_connection_string("AccountName=account;AccountKey=")),
    (
        "connectionstring",
        with_connection_string(f"{CONNECTION_STRING};SharedAccessSignature={SAS}"),
    ),
    ("connectionstring", with_connection_string(f"BlobEndpoint=https://host;AccountKey={KEY}")),
    ("connectionstring", with_connection_string(f"AccountName=account;AccountKey={KEY}!")),
    ("connectionstring", with_connection_string("AccountName=a;SharedAccessSignature=?")),
    ("connectionstring", with_connection_string(f"BlobEndpoint=ftp://host;{CONNECTION_STRING}")),
    (
        "connectionstring",
        with_connection_string(f"BlobEndpoint=https://host?{SAS};{CONNECTION_STRING}"),
    ),
    ("accountname", with_connection_string(CONNECTION_STRING, accountname="account")),
    ("accountkey", with_connection_string(CONNECTION_STRING, accountkey=KEY)),
    ("sastoken", with_connection_string(CONNECTION_STRING, sastoken=SAS)),
    ("realm", with_connection_string(CONNECTION_STRING, realm="core.windows.net")),
    ("serviceurl", with_connection_string(CONNECTION_STRING, serviceurl="https://host")),
    ("credentials", with_connection_string(CONNECTION_STRING, credentials={})),
    ("credentials", with_connection_string(CONNECTION_STRING, credentials=DEFAULT)),
    ("connectionstring", with_connection_string("BlobEndpoint=http://h", credentials=DEFAULT)),
    ("accountname", with_connection_string("BlobEndpoint=https://h.example", accountkey=KEY)),
    ("accountname", {"accountname": None, "serviceurl": "https://h.example"}),
    ("accountkeyy", {"accountkeyy": KEY}),
    ("max_content_bytes", {"max_content_bytes": 1}),
    ("trimlegacyrootprefix", {"trimlegacyrootprefix": True, "legacyrootprefix": False}),
    ("trimlegacyrootprefix", {"trimlegacyrootprefix": "perhaps"}),
    ("legacyrootprefix", {"legacyrootprefix": "perhaps"}),
    ("rootdirectory", {"rootdirectory": 5}),
    ("rootdirectory", {"rootdirectory": "a/../b"}),
    ("skipverify", {"skipverify": "perhaps"}),
    ("useenvsettings", {"useenvsettings": "perhaps"}),
    ("apiversion", {"apiversion": 5}),
    *(("maxcontentbytes", {"maxcontentbytes": value}) for value in ("many", 1.5, True, 0, -1)),
    *(("appendblockbytes", {"appendblockbytes": value}) for value in ("", 0, 101 * MIB)),
    *(("blockbytes", {"blockbytes": value}) for value in ("", 0, 4001 * MIB)),
    *(("blocksinflight", {"blocksinflight": value}) for value in ("all", 0)),
    *(("writemode", {"writemode": value}) for value in ("page", 5)),
    *(("readrangebytes", {"readrangebytes": value}) for value in ("4MiB", 0)),
    *(("connections", {"connections": value}) for value in ("all", 0)),
    *(("connecttimeout", {"connecttimeout": value}) for value in ("soon", "0s", "-1s", "1 s")),
    *(("readtimeout", {"readtimeout": value}) for value in ("1d", "s", "", "nan")),
    *(("copytimeout", {"copytimeout": value}) for value in ("1m30", "inf", 0)),
    *(("max_retries", {"max_retries": value}) for value in ("never", -1)),
    *(
        (name, {name: value})
        for name in ("pooltimeout", "copypoll", "longestretrydelay", "attempttimeout")
        for value in ("soon", 0)
    ),
    *(("totaltimeout", {"totaltimeout": value}) for value in ("soon", 0)),
    *(("slowestbytespersecond", {"slowestbytespersecond": value}) for value in ("1.5", 0)),
    *(("retry_delay", {"retry_delay": value}) for value in ("100 ms", "0", -1, "1s\n")),
]


@pytest.mark.parametrize(
    ("parameter", "given"), WRONG, ids=[f"{name}-{i}" for i, (name, _) in enumerate(WRONG)]
)
def test_a_wrong_parameter_is_named_as_the_operator_wrote_it(
    parameter: str, given: dict[str, Any]
) -> None:
    parameters = given if "connectionstring" in given else {**GIVEN, **given}
    with pytest.raises(ConfigurationError) as caught:
        options_from_parameters(parameters)
    assert caught.value.parameter == parameter
    assert str(caught.value).startswith(f"azure: parameter {parameter}: ")
    for secret in SECRETS:
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value)


def test_an_unknown_parameter_is_told_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match="accountkey, accountname, adaptivelimit"
    ) as caught:
        options_from_parameters({**GIVEN, "accountnme": "account"})
    assert "rootdirectory" in caught.value.reason


@pytest.mark.parametrize("missing", GIVEN)
def test_a_missing_parameter_is_named(missing: str) -> None:
    rest = {name: value for name, value in GIVEN.items() if name != missing}
    with pytest.raises(ConfigurationError, match="is missing") as caught:
        options_from_parameters(rest)
    assert caught.value.parameter == missing


@pytest.mark.parametrize(
    ("text", "account_url", "credential"),
    [
        (
            CONNECTION_STRING,
            "https://account.blob.core.windows.net",
            SharedKey("account", KEY),
        ),
        (
            f"{CONNECTION_STRING};EndpointSuffix=core.usgovcloudapi.net;",
            "https://account.blob.core.usgovcloudapi.net",
            SharedKey("account", KEY),
        ),
        (
            f" AccountName = account ; AccountKey = {KEY} ; DefaultEndpointsProtocol = http ",
            "http://account.blob.core.windows.net",
            SharedKey("account", KEY),
        ),
        (
            f"blobendpoint=http://127.0.0.1:10000/account/;accountname=account;accountkey={KEY}",
            "http://127.0.0.1:10000/account",
            SharedKey("account", KEY),
        ),
        (
            f"BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature={SAS}",
            "https://account.blob.core.windows.net",
            SasToken(SAS),
        ),
        (
            f"AccountName=account;SharedAccessSignature={SAS}",
            "https://account.blob.core.windows.net",
            SasToken(SAS),
        ),
    ],
)
def test_connection_strings(text: str, account_url: str, credential: SharedKey | SasToken) -> None:
    for options in (
        options_from_connection_string(text, "registry"),
        options_from_parameters(with_connection_string(text)),
    ):
        assert options == AzureBlobOptions(
            account_url=account_url, container="registry", credential=credential
        )


@pytest.mark.parametrize(
    ("parameters", "credential"),
    [
        ({"accountkey": KEY}, SharedKey("account", KEY)),
        ({"sastoken": SAS}, SasToken(SAS)),
        ({"credentials": DEFAULT}, DefaultCredential()),
        ({"credentials": {"type": "anonymous"}}, Anonymous()),
    ],
)
@pytest.mark.parametrize(
    "text",
    ["AccountName=account", "BlobEndpoint=https://account.blob.core.windows.net/"],
)
def test_a_connection_string_without_a_credential_goes_with_one(
    text: str, parameters: dict[str, Any], credential: Credential
) -> None:
    expected = AzureBlobOptions(
        account_url="https://account.blob.core.windows.net",
        container="registry",
        credential=credential,
    )
    assert options_from_parameters(with_connection_string(text, **parameters)) == expected
    assert options_from_connection_string(text, "registry", credential=credential) == expected


def test_a_connection_string_with_a_credential_goes_with_no_other() -> None:
    with pytest.raises(ConfigurationError, match="contradicts the credential in") as caught:
        options_from_connection_string(CONNECTION_STRING, "registry", credential=Anonymous())
    assert caught.value.parameter == "credential"


@pytest.mark.parametrize(
    ("account_url", "account"),
    [
        ("https://account.blob.core.windows.net", "account"),
        ("https://account.blob.core.usgovcloudapi.net/", "account"),
        ("https://account.blob.storage.azure.net", "account"),
        ("http://127.0.0.1:10000/account", "account"),
        ("http://[::1]:10000/account/", "account"),
        ("https://files.example.com", None),
        ("https://files.example.com/a/b", None),
        ("", None),
    ],
)
def test_an_endpoint_says_whose_it_is(account_url: str, account: str | None) -> None:
    assert account_of(account_url) == account


@pytest.mark.parametrize("text", ["UseDevelopmentStorage=true", "usedevelopmentstorage=TRUE;"])
def test_development_storage_is_azurite_on_its_own_port(text: str) -> None:
    options = options_from_connection_string(text, "registry")
    assert options.account_url == "http://127.0.0.1:10000/devstoreaccount1"
    assert isinstance(options.credential, SharedKey)
    assert options.credential.account_name == "devstoreaccount1"


def test_options_go_along_with_a_connection_string() -> None:
    options = options_from_connection_string(
        CONNECTION_STRING, "registry", root_directory="root", connections=5
    )
    assert (options.root_directory, options.connections) == ("root", 5)
    with pytest.raises(ConfigurationError) as caught:
        options_from_connection_string(CONNECTION_STRING, "registry", connections=0)
    assert caught.value.parameter == "connections"


@pytest.mark.parametrize("swapped", ["registry", "", "https://account.blob.core.windows.net"])
def test_a_connection_string_in_the_wrong_place_is_not_shown(swapped: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options_from_connection_string(swapped, CONNECTION_STRING)
    assert KEY not in str(caught.value)


def test_drivers_are_made_of_either() -> None:
    for driver in (
        AzureBlobDriver.from_parameters(GIVEN),
        AzureBlobDriver.from_connection_string(CONNECTION_STRING, "registry"),
    ):
        assert driver.options == options_from_parameters(GIVEN)
        assert driver.name == "azure"
