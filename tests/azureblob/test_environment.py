"""Options out of URLs and out of the environment: what goes before what."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from azdriver import AzureBlobDriver, AzureBlobOptions, ConfigurationError, from_url
from azdriver.azureblob import (
    Anonymous,
    ClientSecret,
    DefaultCredential,
    RetrySettings,
    SasToken,
    SharedKey,
    environment,
)
from azdriver.azureblob.urls import options_from_url

KEY = "c2VjcmV0LWtleS+/bw=="
OTHER_KEY = "b3RoZXItc2VjcmV0LWtleQ=="
SAS = "sv=2021-12-02&sr=c&sp=rl&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"
SECRETS = (KEY.rstrip("="), OTHER_KEY.rstrip("="), "c2VjcmV0LXNpZ25hdHVyZQ")
HOST = "https://account.blob.core.windows.net"

STRING = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT = "AZURE_STORAGE_ACCOUNT"
ACCOUNT_KEY = "AZURE_STORAGE_KEY"
TOKEN = "AZURE_STORAGE_SAS_TOKEN"
ENDPOINT = "AZURE_STORAGE_SERVICE_ENDPOINT"
MODE = "AZURE_STORAGE_AUTH_MODE"

OF_ACCOUNT = f"AccountName=account;AccountKey={KEY}"
OF_OTHER = f"AccountName=other;AccountKey={OTHER_KEY}"


def options(**more: Any) -> AzureBlobOptions:
    return AzureBlobOptions(
        **{
            "account_url": HOST,
            "container": "registry",
            "credential": SharedKey("account", KEY),
            **more,
        }
    )


class TestTheUrlAlone:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            (f"azure://account/registry?accountkey={KEY}", options()),
            (f"AZURE://account/registry/?AccountKey={KEY}", options()),
            ("azure://account/registry?accountkey=c2VjcmV0LWtleS%2B%2Fbw%3D%3D", options()),
            (f"azure:///registry?accountname=account&accountkey={KEY}", options()),
            (f"azure:?container=registry&accountname=account&accountkey={KEY}", options()),
            (f"azure:///registry?connectionstring={OF_ACCOUNT}", options()),
            (
                f"azure://account/registry/some/root/?accountkey={KEY}",
                options(root_directory="some/root"),
            ),
            (
                f"azure://account/registry?rootdirectory=some/root&accountkey={KEY}",
                options(root_directory="some/root"),
            ),
            (f"azure://account/%24root?accountkey={KEY}", options(container="$root")),
            (
                f"azure://account/registry?sastoken={SAS.replace('%', '%25').replace('&', '%26')}",
                options(credential=SasToken(SAS)),
            ),
            (
                "azure://account/registry?credentials.type=anonymous",
                options(credential=Anonymous()),
            ),
            (
                "azure://account/registry?credentials.type=client_secret&credentials.tenantid=t"
                "&credentials.clientid=c&credentials.secret=s%26s",
                options(credential=ClientSecret("t", "c", "s&s")),
            ),
            (
                "azure://account/registry?credentials.type=default_credentials"
                "&credentials.clientid=c",
                options(credential=DefaultCredential("c")),
            ),
            (
                f"azure://account/registry?accountkey={KEY}&realm=core.chinacloudapi.cn",
                options(account_url="https://account.blob.core.chinacloudapi.cn"),
            ),
            (
                f"azure://account/registry?accountkey={KEY}"
                "&serviceurl=http://127.0.0.1:10000/account",
                options(account_url="http://127.0.0.1:10000/account"),
            ),
            (
                "azure:///registry?credentials.type=anonymous&serviceurl=https://files.example.com",
                options(account_url="https://files.example.com", credential=Anonymous()),
            ),
            (
                f"azure://account/registry?accountkey={KEY}&max_retries=1&connections=7",
                options(retry=RetrySettings(retries=1), connections=7),
            ),
        ],
    )
    def test_what_it_says(self, url: str, expected: AzureBlobOptions) -> None:
        assert options_from_url(url, {}) == expected
        # What the environment says of other accounts changes nothing.
        assert options_from_url(url, {STRING: OF_OTHER, TOKEN: SAS}) == expected
        other = {ACCOUNT: "other", ACCOUNT_KEY: OTHER_KEY, ENDPOINT: "https://other.blob.x.example"}
        assert options_from_url(url, other) == expected
        assert options_from_url(url, {MODE: "login"}) == expected

    @pytest.mark.parametrize(
        ("url", "parameter"),
        [
            ("memory:", "url"),
            (f"azure://account?accountkey={KEY}", "container"),
            (f"azure:///registry?accountkey={KEY}", "accountname"),
            (f"azure://account:443/registry?accountkey={KEY}", "accountname"),
            (f"azure://account.blob.core.windows.net/registry?accountkey={KEY}", "accountname"),
            (f"azure://account%2Fevil/registry?accountkey={KEY}", "accountname"),
            (f"azure://{KEY.replace('/', '%2F')}/registry?accountkey=account", "accountname"),
            (f"azure://account/Registry?accountkey={KEY}", "container"),
            (f"azure://account//root?accountkey={KEY}", "container"),
            (f"azure://account/registry/a/../b?accountkey={KEY}", "rootdirectory"),
            (f"azure://account/registry/a%2F%2e%2e%2Fb?accountkey={KEY}", "rootdirectory"),
            (f"azure://account/registry?accountkey={KEY}&accountname=account", "accountname"),
            (f"azure://account/registry?accountkey={KEY}&container=registry", "container"),
            (f"azure://account/registry/a?accountkey={KEY}&rootdirectory=a", "rootdirectory"),
            (f"azure://account/registry?connectionstring={OF_ACCOUNT}", "accountname"),
            (f"azure://account/registry?accountkey={KEY}&sastoken={SAS}", "sr"),
            (f"azure://account/registry?accountkey={KEY}&nonsense={KEY}", "nonsense"),
            (f"azure://account/registry?accountkey={KEY[:-1]}", "accountkey"),
            (f"azure://account/registry?accountkey={KEY}&realm=x&serviceurl=https://x", "realm"),
            (f"azure://account/registry?accountkey={KEY}&credentials.type=anonymous", "accountkey"),
            (f"azure://account/registry?credentials={KEY}", "credentials"),
            (f"azure://account/registry?credentials.type={KEY}", "credentials"),
            (f"azure://account/registry?credentials.secret={KEY}", "credentials.secret"),
            ("azure://account/registry?credentials.type=client_secret", "credentials.tenantid"),
            (f"azure://account/registry?accountkey={KEY}&readtimeout=soon", "readtimeout"),
        ],
    )
    def test_what_is_wrong_is_named_and_no_secret_shown(self, url: str, parameter: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            options_from_url(url, {})
        assert caught.value.parameter == parameter
        shown = "".join(traceback.format_exception(caught.value))
        assert not any(secret in shown for secret in SECRETS)


class TestTheEnvironment:
    @pytest.mark.parametrize(
        ("url", "environ", "expected"),
        [
            ("azure:///registry", {STRING: OF_ACCOUNT}, options()),
            ("azure://account/registry", {STRING: OF_ACCOUNT}, options()),
            ("azure://account/registry", {ACCOUNT_KEY: KEY}, options()),
            ("azure:///registry", {ACCOUNT: "account", ACCOUNT_KEY: KEY}, options()),
            ("azure:///registry", {ENDPOINT: HOST + "/", ACCOUNT_KEY: KEY}, options()),
            (
                "azure:///registry",
                {ACCOUNT: "account", TOKEN: f"?{SAS}"},
                options(credential=SasToken(f"?{SAS}")),
            ),
            (
                "azure:///registry",
                {STRING: f"BlobEndpoint={HOST}/;SharedAccessSignature={SAS}"},
                options(credential=SasToken(SAS)),
            ),
            (f"azure:///registry?serviceurl={HOST}", {ACCOUNT_KEY: KEY}, options()),
            # A key goes before a token: it can sign.
            ("azure://account/registry", {ACCOUNT_KEY: KEY, TOKEN: SAS}, options()),
            # The connection string goes before both, and login before all.
            (
                "azure:///registry",
                {STRING: OF_ACCOUNT, ACCOUNT_KEY: OTHER_KEY, TOKEN: SAS, MODE: "key"},
                options(),
            ),
            (
                "azure:///registry",
                {STRING: OF_OTHER, ACCOUNT: "account", ACCOUNT_KEY: KEY, MODE: "login"},
                options(credential=DefaultCredential()),
            ),
            ("azure:///registry", {ACCOUNT: "account"}, options(credential=DefaultCredential())),
            ("azure://account/registry", {}, options(credential=DefaultCredential())),
            # What is set and empty is not set.
            (
                "azure://account/registry",
                {STRING: "", ACCOUNT: "", ACCOUNT_KEY: "", MODE: ""},
                options(credential=DefaultCredential()),
            ),
            # A connection string without a credential says where; the others say how.
            (
                "azure:///registry",
                {STRING: "AccountName=account;EndpointSuffix=core.usgovcloudapi.net", TOKEN: SAS},
                options(
                    account_url="https://account.blob.core.usgovcloudapi.net",
                    credential=SasToken(SAS),
                ),
            ),
            (
                "azure:///registry",
                {STRING: "UseDevelopmentStorage=true"},
                options(
                    account_url="http://127.0.0.1:10000/devstoreaccount1",
                    credential=SharedKey(
                        "devstoreaccount1",
                        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"
                        "/K1SZFPTOtr/KBHBeksoGMGw==",
                    ),
                ),
            ),
            # The endpoint, unless the URL has one.
            (
                "azure://account/registry",
                {ENDPOINT: "https://account.blob.core.chinacloudapi.cn", ACCOUNT_KEY: KEY},
                options(account_url="https://account.blob.core.chinacloudapi.cn"),
            ),
            (
                "azure://account/registry?realm=core.windows.net",
                {ENDPOINT: "https://account.blob.core.chinacloudapi.cn", ACCOUNT_KEY: KEY},
                options(),
            ),
            (
                "azure://account/registry?serviceurl=https://files.example.com",
                {STRING: OF_ACCOUNT},
                options(account_url="https://files.example.com"),
            ),
            (
                f"azure://account/registry?accountkey={KEY}",
                {ENDPOINT: "https://files.example.com"},
                options(account_url="https://files.example.com"),
            ),
            # Another account's place means nothing where no credential is taken from there.
            (
                "azure://account/registry?credentials.type=anonymous",
                {ACCOUNT: "other", ENDPOINT: "https://other.blob.core.windows.net"},
                options(credential=Anonymous()),
            ),
            (
                "azure://account/registry",
                {ACCOUNT: "other", ACCOUNT_KEY: OTHER_KEY, MODE: "login"},
                options(credential=DefaultCredential()),
            ),
        ],
    )
    def test_what_it_adds(
        self, url: str, environ: dict[str, str], expected: AzureBlobOptions
    ) -> None:
        assert options_from_url(url, environ) == expected

    @pytest.mark.parametrize(
        ("url", "environ", "parameter"),
        [
            ("azure:///registry", {}, "accountname"),
            ("azure:///registry", {MODE: "login", STRING: OF_ACCOUNT}, "accountname"),
            ("azure://account/registry", {MODE: "key"}, "credentials"),
            ("azure://account/registry", {MODE: KEY}, MODE),
            ("azure://account/registry", {STRING: OF_OTHER}, STRING),
            ("azure://account/registry", {STRING: OF_OTHER, ACCOUNT_KEY: KEY}, STRING),
            (
                "azure://account/registry",
                {STRING: f"BlobEndpoint=https://x.example;SharedAccessSignature={SAS}"},
                STRING,
            ),
            ("azure:///registry", {STRING: OF_ACCOUNT, ACCOUNT: "other"}, STRING),
            ("azure:///registry", {STRING: KEY}, STRING),
            ("azure:///registry", {STRING: f"AccountName=account;AccountKey={KEY}!"}, STRING),
            ("azure:///registry", {STRING: f"AccountName={KEY};AccountKey=account"}, STRING),
            ("azure://account/registry", {ACCOUNT: "other", ACCOUNT_KEY: OTHER_KEY}, ACCOUNT_KEY),
            ("azure://account/registry", {ACCOUNT: "other", TOKEN: SAS}, TOKEN),
            # An endpoint says whose it is, too.
            (f"azure:///registry?serviceurl={HOST}", {STRING: OF_OTHER}, STRING),
            (f"azure:///registry?serviceurl={HOST}", {ACCOUNT: "other", TOKEN: SAS}, TOKEN),
            (
                "azure://account/registry",
                {ENDPOINT: "https://other.blob.core.windows.net", ACCOUNT_KEY: OTHER_KEY},
                ACCOUNT_KEY,
            ),
            (
                "azure://account/registry",
                {ACCOUNT: "account", ENDPOINT: "https://other.blob.core.windows.net"},
                ENDPOINT,
            ),
            ("azure:///registry", {ACCOUNT: KEY, ACCOUNT_KEY: "account"}, ACCOUNT),
            ("azure://account/registry", {ACCOUNT_KEY: KEY[:-1]}, ACCOUNT_KEY),
            ("azure://account/registry", {TOKEN: f"{SAS}\r\n"}, TOKEN),
            (
                "azure://account/registry",
                {ENDPOINT: f"https://x?{SAS}", ACCOUNT_KEY: KEY},
                ENDPOINT,
            ),
            (
                "azure://account/registry",
                {ENDPOINT: "http://127.0.0.1:10000/account", MODE: "login"},
                ENDPOINT,
            ),
            (
                "azure://account/registry",
                {ENDPOINT: "http://127.0.0.1:10000/account"},
                "credentials",
            ),
        ],
    )
    def test_what_is_wrong_is_named_and_no_secret_shown(
        self, url: str, environ: dict[str, str], parameter: str
    ) -> None:
        with pytest.raises(ConfigurationError) as caught:
            options_from_url(url, environ)
        assert caught.value.parameter == parameter
        shown = "".join(traceback.format_exception(caught.value))
        assert not any(secret in shown for secret in SECRETS)

    @pytest.mark.parametrize("endpoint", ["other.blob.core.windows.net", "other.z1.blob.x.example"])
    def test_a_credential_goes_to_no_other_accounts_endpoint(self, endpoint: str) -> None:
        url = f"azure://account/registry?serviceurl=https://{endpoint}"
        for environ in ({ACCOUNT: "account", TOKEN: SAS}, {STRING: OF_ACCOUNT}):
            with pytest.raises(
                ConfigurationError, match="of the account 'other', not of 'account'"
            ):
                options_from_url(url, environ)

    def test_a_credential_of_another_account_is_told_apart(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            options_from_url("azure://account/registry", {STRING: OF_OTHER})
        assert caught.value.reason.startswith("is of the account 'other', not of 'account'")

    def test_without_azure_identity_what_is_missing_is_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "has_identity", lambda: False)
        with pytest.raises(ConfigurationError, match=f"are missing.*{STRING}") as caught:
            options_from_url("azure://account/registry", {})
        assert caught.value.parameter == "credentials"


class TestTheDriver:
    def test_by_url(self) -> None:
        url = f"azure://account/registry?accountkey={KEY}"
        for driver in (from_url(url), AzureBlobDriver.from_url(url)):
            assert isinstance(driver, AzureBlobDriver)
            assert driver.options == options()
            assert not any(secret in repr(driver) for secret in SECRETS)

    def test_by_the_processs_own_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in environment.VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(STRING, OF_ACCOUNT)
        assert AzureBlobDriver.from_url("azure:///registry").options == options()
        driver = AzureBlobDriver.from_environment("registry", connections=5)
        assert driver.options == options(connections=5)

    def test_wrong_options_are_named(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            AzureBlobDriver.from_environment(
                "registry", environ={STRING: OF_ACCOUNT}, connections=0
            )
        assert caught.value.parameter == "connections"
