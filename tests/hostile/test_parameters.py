"""What an operator could write into a configuration: an error that names it, and no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from azdriver import (
    AzureBlobDriver,
    AzureBlobOptions,
    ConfigurationError,
    MemoryDriver,
    from_registry_config,
    from_url,
)
from azdriver.azureblob import ClientSecret, RetrySettings, SasToken, SharedKey, parametertable
from azdriver.azureblob.environment import VARIABLES

SECRET: Final = "c2VjcmV0LXNlY3JldA"
KEY: Final = SECRET + "=="
SAS: Final = f"sv=2021-12-02&sr=c&sig={SECRET}%3D"

GOOD: Final = {"accountname": "account", "accountkey": KEY, "container": "registry"}
KNOWN: Final = sorted(
    {
        *parametertable.CONNECTION,
        *parametertable.OPTIONS,
        *parametertable.RETRY,
        *parametertable.LAYOUT,
    }
)
SECRETS: Final = frozenset({"accountkey", "sastoken", "connectionstring", "credentials"})

# What breaks out of an URL, of a header, or of a line.
INJECTIONS: Final = (
    "\r\nX-Injected: 1",
    "\n",
    "\r",
    "\0",
    "\x7f",
    "\t",
    " ",
    "\u2028",
    "\ud800",
    "#",
    "?a=b",
    "/../other",
    "//host",
    "@host",
    "\\",
    "%0d%0a",
    "é",
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=50),
    st.binary(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    st.builds(object),
    st.sampled_from(["-1", "1e400", "nan", "inf", "١", "1_0", *INJECTIONS]),
    st.sampled_from("x9/=;").map(lambda letter: letter * 10_000),
    st.sampled_from(INJECTIONS).map(lambda tail: "account" + tail),
)  # fmt: skip


@contextmanager
def typed() -> Iterator[None]:
    """Success, or an error that names a parameter and shows no secret."""
    caught: ConfigurationError | None = None
    try:
        yield
    except ConfigurationError as error:
        caught = error
    if caught is not None:
        assert isinstance(caught.parameter, str)
        assert SECRET not in f"{caught!s}{caught!r}{caught.__cause__!r}{caught.__context__!r}"
        assert len(str(caught)) < 2000


# Of a connection string.
FIELDS: Final = (
    *("AccountName", "AccountKey", "BlobEndpoint", "SharedAccessSignature", "EndpointSuffix"),
    *("DefaultEndpointsProtocol", "UseDevelopmentStorage", ""),
)


class TestFactory:
    @settings(max_examples=1500, deadline=None)
    @given(st.sampled_from(KNOWN), values)
    @example("container", "a/../b")
    def test_any_value_of_one_parameter(self, name: str, value: Any) -> None:
        with typed():
            AzureBlobDriver.from_parameters({**GOOD, name: value})

    @settings(max_examples=500, deadline=None)
    @given(st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=10), values, max_size=6))
    def test_any_values_of_any_parameters(self, parameters: dict[str, Any]) -> None:
        with typed():
            AzureBlobDriver.from_parameters(parameters)

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.none(), st.integers(), st.text(), st.binary()), values)
    def test_a_key_that_is_no_text(self, key: Any, value: Any) -> None:
        with typed():
            AzureBlobDriver.from_parameters({**GOOD, key: value})
        with typed():
            MemoryDriver.from_parameters({key: value})

    @settings(max_examples=300, deadline=None)
    @given(values)
    def test_any_value_of_the_memory_driver(self, value: Any) -> None:
        with typed():
            MemoryDriver.from_parameters({"maxcontentbytes": value})

    @pytest.mark.parametrize("tail", INJECTIONS, ids=ascii)
    @pytest.mark.parametrize(
        "name",
        [
            *("accountname", "accountkey", "sastoken", "container", "realm"),
            *("rootdirectory", "apiversion", "serviceurl"),
        ],
    )
    def test_what_would_break_out_is_refused(self, name: str, tail: str) -> None:
        """What has a meaning of its own in an URL, a header or a file."""
        good: dict[str, Any] = {
            **GOOD,
            "sastoken": SAS,
            "realm": "core.windows.net",
            "serviceurl": "https://account.example",
            "apiversion": "2021-12-02",
            "rootdirectory": "root",
        }
        if name == "sastoken" and tail in ("?a=b", "/../other", "//host", "@host", "%0d%0a"):
            pytest.skip("harmless in a query, where it makes a signature wrong")
        if name == "rootdirectory" and tail in ("//host",):
            pytest.skip("not harmful")
        good.pop("accountkey" if name == "sastoken" else "sastoken")
        good.pop("serviceurl" if name == "realm" else "realm")
        with pytest.raises(ConfigurationError) as caught:
            AzureBlobDriver.from_parameters({**good, name: good[name] + tail})
        assert caught.value.parameter in (name, "account_url", *_option_of(name))
        assert SECRET not in f"{caught.value!s}{caught.value!r}"

    @pytest.mark.parametrize("name", sorted(SECRETS - {"credentials"}))
    @pytest.mark.parametrize("kind", [bytes, list, str.swapcase])
    def test_a_secret_of_a_wrong_type_is_not_shown(self, name: str, kind: Any) -> None:
        parameters: dict[str, Any] = {"accountname": "account", "container": "registry"}
        value = kind(KEY.encode()) if kind is bytes else kind(KEY)
        with typed():
            AzureBlobDriver.from_parameters({**parameters, name: value})


def _option_of(parameter: str) -> list[str]:
    return [option for name, (option, _) in parametertable.OPTIONS.items() if name == parameter]


class TestConnectionString:
    def test_a_name_and_a_key_that_were_exchanged(self) -> None:
        with pytest.raises(ConfigurationError, match="may be a secret") as caught:
            AzureBlobDriver.from_connection_string(
                f"AccountName={KEY};AccountKey=account", "registry"
            )
        assert SECRET not in str(caught.value)

    @settings(max_examples=1500, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(FIELDS) | st.text(max_size=5),
                st.sampled_from([KEY, SAS, "true", "https", "http://x", "account", "", *INJECTIONS])
                | st.text(max_size=10),
                st.sampled_from(["=", "==", "", " = "]),
            ),
            max_size=7,
        ),
        st.sampled_from([";", ";;", "\n", "; "]),
    )
    def test_any_parts(self, parts: list[tuple[str, str, str]], separator: str) -> None:
        text = separator.join(f"{key}{equals}{value}" for key, value, equals in parts)
        with typed():
            AzureBlobDriver.from_connection_string(text, "registry")

    @settings(max_examples=300, deadline=None)
    @given(values, values)
    def test_anything(self, text: Any, container: Any) -> None:
        with typed():
            AzureBlobDriver.from_connection_string(text, container)


class TestUrl:
    @settings(max_examples=1000, deadline=None)
    @given(
        st.sampled_from(["account", "", *INJECTIONS]) | st.text(max_size=10),
        st.sampled_from(["registry", "registry/a", "", *INJECTIONS]) | st.text(max_size=10),
        st.dictionaries(
            st.sampled_from([*KNOWN, "credentials.type", "credentials.secret"]),
            st.sampled_from([KEY, SAS, f"AccountName=account;AccountKey={KEY}", *INJECTIONS])
            | st.text(max_size=10),
            max_size=4,
        ),
        st.dictionaries(
            st.sampled_from(sorted(VARIABLES)),
            st.sampled_from([KEY, SAS, f"AccountName=account;AccountKey={KEY}", "account", "key"])
            | st.text(max_size=10),
            max_size=4,
        ),
        st.booleans(),
    )
    def test_any_url_and_any_environment(
        self,
        account: str,
        path: str,
        query: dict[str, str],
        environ: dict[str, str],
        is_encoded: bool,
    ) -> None:
        def encoded(text: str) -> str:
            return quote(text, safe="", errors="surrogatepass") if is_encoded else text

        parts = "&".join(f"{name}={encoded(value)}" for name, value in query.items())
        with typed():
            from_url(f"azure://{encoded(account)}/{encoded(path)}?{parts}", environ=environ)


class TestRegistry:
    @settings(max_examples=300, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(KNOWN) | st.text(max_size=5),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.sampled_from([KEY, SAS]),
                lambda inner: (
                    st.lists(inner, max_size=2)
                    | st.dictionaries(st.sampled_from(["type", "secret", "x"]), inner, max_size=2)
                ),
                max_leaves=5,
            ),
            max_size=5,
        ),
        st.dictionaries(
            st.lists(st.sampled_from(["AZURE", "CREDENTIALS", "TYPE", "SECRET", "", "X"])).map(
                lambda parts: "_".join(["REGISTRY_STORAGE", *parts])
            ),
            st.sampled_from([KEY, SAS, "azure", "[", "{}", "~", f"{{{KEY}: {SECRET}}}"]),
            max_size=4,
        ),
    )
    def test_any_configuration_and_any_environment(
        self, azure: dict[str, Any], environ: dict[str, str]
    ) -> None:
        text = json.dumps({"storage": {"azure": {**GOOD, **azure}}})
        with typed():
            from_registry_config(text=text, environ=environ)


class TestOptions:
    @settings(max_examples=1000, deadline=None)
    @given(st.sampled_from(sorted(AzureBlobOptions.__dataclass_fields__)), values)
    def test_any_value_of_one_option(self, name: str, value: Any) -> None:
        good: dict[str, Any] = {
            "account_url": "https://account.example",
            "container": "registry",
            "credential": SharedKey("account", KEY),
        }
        with typed():
            AzureBlobOptions(**{**good, name: value})

    @settings(max_examples=500, deadline=None)
    @given(st.sampled_from(sorted(RetrySettings.__dataclass_fields__)), values)
    def test_any_value_of_one_retry_setting(self, name: str, value: Any) -> None:
        with typed():
            RetrySettings(**{name: value})

    @settings(max_examples=300, deadline=None)
    @given(values, values)
    def test_any_credential(self, one: Any, other: Any) -> None:
        with typed():
            SharedKey(one, other)
        with typed():
            SasToken(one)
        with typed():
            ClientSecret(one, other, KEY)
        credentials = {"type": "client_secret", "tenantid": one, "clientid": other, "secret": KEY}
        with typed():
            AzureBlobDriver.from_parameters(
                {"accountname": "account", "container": "registry", "credentials": credentials}
            )
