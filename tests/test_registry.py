"""The container registry's own configuration."""

from __future__ import annotations

import traceback
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azdriver import (
    AzureBlobDriver,
    AzureBlobOptions,
    ConfigurationError,
    MemoryDriver,
    from_registry_config,
    register,
    registryyaml,
)
from azdriver import factory as factory_module
from azdriver.azureblob import (
    Anonymous,
    ClientSecret,
    DefaultCredential,
    RetrySettings,
    SharedKey,
)

KEY = "c2VjcmV0LWtleS+/bw=="
SECRET = KEY.rstrip("=")
LETTERS_OF_SECRET = "c2VjcmV0LWtleS"

# As the registry's documentation has it, with what operators add.
CONFIG = f"""
version: 0.1
log:
  accesslog:
    disabled: true
  fields: &fields
    service: registry
storage:
  azure:
    accountname: account
    accountkey: {KEY}
    container: registry
    rootdirectory: /some/root
    max_retries: 3
    retry_delay: 100ms
    skipverify: yes
    apiversion: 2021-12-02
  delete:
    enabled: true
  redirect:
    disable: false
  cache:
    blobdescriptor: redis
  maintenance:
    uploadpurging:
      enabled: true
      age: 168h
  tag:
    concurrencylimit: 8
http:
  addr: :5000
  secret: {KEY}
  headers:
    X-Content-Type-Options: [nosniff]
"""


def options_of(text: str, environ: dict[str, str] | None = None) -> AzureBlobOptions:
    driver = from_registry_config(text=text, environ=environ or {})
    assert isinstance(driver, AzureBlobDriver)
    return driver.options


def expected(**more: Any) -> AzureBlobOptions:
    return AzureBlobOptions(
        **{
            "account_url": "https://account.blob.core.windows.net",
            "container": "registry",
            "credential": SharedKey("account", KEY),
            "root_directory": "/some/root",
            "retry": RetrySettings(retries=3, first_delay_seconds=0.1),
            "verify_tls": False,
            "api_version": "2021-12-02",
            **more,
        }
    )


def test_a_whole_configuration() -> None:
    assert options_of(CONFIG) == expected()


@pytest.mark.parametrize("marked", [b"", b"\xef\xbb\xbf"])
def test_it_is_read_from_a_file(tmp_path: Path, marked: bytes) -> None:
    file = tmp_path / "config.yml"
    file.write_bytes(marked + CONFIG.encode())
    for path in (file, str(file)):
        driver = from_registry_config(path, environ={})
        assert isinstance(driver, AzureBlobDriver)
        assert driver.options == expected()


async def test_in_memory() -> None:
    for text in ("storage: inmemory", "storage: {inmemory: }", "storage: {inmemory: {}}"):
        async with from_registry_config(text=text, environ={}) as driver:
            assert isinstance(driver, MemoryDriver)
            await driver.put_content("/a", b"x")


@pytest.mark.parametrize(
    ("environ", "more"),
    [
        ({"REGISTRY_STORAGE_AZURE_CONTAINER": "other"}, {"container": "other"}),
        # Values are YAML, and so are whole drivers.
        ({"REGISTRY_STORAGE_AZURE_ROOTDIRECTORY": "'/x'"}, {"root_directory": "/x"}),
        ({"REGISTRY_STORAGE_AZURE_SKIPVERIFY": "off"}, {"verify_tls": True}),
        (
            {
                "REGISTRY_STORAGE": "azure",
                "REGISTRY_STORAGE_AZURE": f"{{accountname: account, accountkey: {KEY}}}",
                "REGISTRY_STORAGE_AZURE_CONTAINER": "registry",
            },
            {
                "root_directory": "",
                "retry": RetrySettings(),
                "verify_tls": True,
                "api_version": None,
            },
        ),
        (
            {
                "REGISTRY_STORAGE_AZURE_ACCOUNTKEY": "null",
                "REGISTRY_STORAGE_AZURE_CREDENTIALS_TYPE": "client_secret",
                "REGISTRY_STORAGE_AZURE_CREDENTIALS_TENANTID": "t",
                "REGISTRY_STORAGE_AZURE_CREDENTIALS_CLIENTID": "123",
                "REGISTRY_STORAGE_AZURE_CREDENTIALS_SECRET": "0x1",
            },
            {"credential": ClientSecret("t", "123", "0x1")},
        ),
        (
            {
                "REGISTRY_STORAGE_AZURE_ACCOUNTKEY": "",
                "REGISTRY_STORAGE_AZURE_CREDENTIALS": "{type: default_credentials}",
                "REGISTRY_STORAGE_AZURE_CREDENTIALS_CLIENTID": "c",
            },
            {"credential": DefaultCredential("c")},
        ),
        # An underscore within a name is not one between names.
        (
            {"REGISTRY_STORAGE_AZURE_MAX_RETRIES": "7", "REGISTRY_STORAGE_AZURE_RETRY_DELAY": "1s"},
            {"retry": RetrySettings(retries=7, first_delay_seconds=1)},
        ),
        # What is no driver's, and what is not below ``storage``.
        (
            {
                "REGISTRY_STORAGE_DELETE_ENABLED": "false",
                "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED": "true",
                "REGISTRY_STORAGE_CACHE": "{}",
                "REGISTRY_HTTP_SECRET": "[",
                "REGISTRY_STORAGES": "[",
                "AZURE_STORAGE_ACCOUNT": "other",
            },
            {},
        ),
    ],
)
def test_the_environment_replaces_parts(environ: dict[str, str], more: dict[str, Any]) -> None:
    assert options_of(CONFIG, environ) == expected(**more)


def test_names_in_another_case_are_replaced_too() -> None:
    text = f"storage: {{Azure: {{AccountName: a, accountKey: {KEY}, Container: registry}}}}"
    with pytest.raises(ConfigurationError, match=r"storage\.Azure: no such driver"):
        options_of(text)
    text = text.replace("Azure", "azure")
    environ = {"REGISTRY_STORAGE_AZURE_ACCOUNTNAME": "account"}
    assert options_of(text, environ).credential == SharedKey("account", KEY)


def test_the_processs_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_STORAGE", "inmemory")
    assert isinstance(from_registry_config(text=CONFIG), MemoryDriver)


def test_a_parameter_that_an_alias_names_twice_is_replaced_in_one_place() -> None:
    text = (
        "version: 0.1\nstorage:\n  azure: {accountname: a, container: registry, "
        "credentials: &c {type: anonymous}}\n  cache: *c\n"
    )
    environ = {"REGISTRY_STORAGE_CACHE_CREDENTIALS_TYPE": "x", "REGISTRY_STORAGE_CACHE_TYPE": "x"}
    assert options_of(text, environ).credential == Anonymous()


def test_another_driver_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory_module, "_registered", {})
    seen: list[Any] = []

    def make(parameters: Any) -> MemoryDriver:
        seen.append(parameters)
        return MemoryDriver()

    register("mine", make)
    from_registry_config(
        text="storage: {mine: {size: 5, deep: {levels: [yes, ~, 1.5]}}}", environ={}
    )
    # Texts stay what was written: each parameter is read by the driver.
    assert seen == [{"size": "5", "deep": {"levels": [True, None, "1.5"]}}]


AZURE = f"accountname: account, accountkey: {KEY}, container: registry"


@pytest.mark.parametrize(
    ("text", "environ", "parameter", "match"),
    [
        ("", {}, "config", "is to be a mapping, not empty"),
        ("- 1", {}, "config", "is to be a mapping, not list"),
        ("version: 0.1", {}, "storage", "is to have one driver; there are: none"),
        ("storage:", {}, "storage", "is to have one driver; there are: none"),
        ("storage: [azure]", {}, "storage", "is to be a mapping with a driver, not list"),
        ("storage: {delete: {}}", {}, "storage", "there are: none"),
        ("storage: {azure: {}, inmemory: {}}", {}, "storage", "there are: azure, inmemory"),
        (
            "storage: {filesystem: {}}",
            {"REGISTRY_STORAGE_AZURE_CONTAINER": "registry"},
            "storage",
            "there are: filesystem, azure",
        ),
        ("storage: filesystem", {}, "storage.filesystem", "no such driver; there are: azure"),
        ("storage: {azure: text}", {}, "storage.azure", "is to be a mapping, not str"),
        ("storage: {azure: [1]}", {}, "storage.azure", "is to be a mapping, not list"),
        ("storage: azure", {}, "storage.azure.container", "is missing"),
        (f"storage: {{azure: {{{AZURE}, foo: {KEY}}}}}", {}, "storage.azure.foo", "is unknown"),
        (f"storage: {{inmemory: {{foo: {KEY}}}}}", {}, "storage.inmemory.foo", "is unknown"),
        (
            f"storage: {{azure: {{{AZURE}, sastoken: sig}}}}",
            {},
            "storage.azure.sastoken",
            "contradicts accountkey",
        ),
        (
            f"storage: {{azure: {{{AZURE}, credentials: {{type: {KEY}}}}}}}",
            {},
            "storage.azure.credentials",
            "not shown",
        ),
        (
            f"storage: {{azure: {{{AZURE}, credentials: {{secret: {KEY}}}}}}}",
            {},
            "storage.azure.credentials.secret",
            "is unknown to shared_key",
        ),
        (
            f"storage: {{azure: {{{AZURE}, credentials: [{KEY}]}}}}",
            {},
            "storage.azure.credentials",
            "is to be a mapping",
        ),
        (
            f"storage: {{azure: {{{AZURE}, rootdirectory: {{a: b}}}}}}",
            {},
            "storage.azure.rootdirectory",
            "is to be a text, not dict",
        ),
        (
            f"storage: {{azure: {{{AZURE}, container: a}}}}",
            {},
            "storage.azure.container",
            "is given twice",
        ),
        (
            f"storage: {{azure: {{{AZURE}}}}}",
            {"REGISTRY_STORAGE_AZURE_FOO": KEY},
            "storage.azure.foo",
            r"is unknown.*\(set by REGISTRY_STORAGE_AZURE_FOO\)",
        ),
        (
            f"storage: {{azure: {{{AZURE}}}}}",
            {"REGISTRY_STORAGE_AZURE_ACCOUNTKEY": f"{KEY}!"},
            "storage.azure.accountkey",
            r"not base64.*\(set by REGISTRY_STORAGE_AZURE_ACCOUNTKEY\)",
        ),
        (
            f"storage: {{azure: {{{AZURE}}}}}",
            {"REGISTRY_STORAGE_AZURE": f"[{KEY}"},
            "REGISTRY_STORAGE_AZURE",
            r"is no YAML of plain values \(line 1",
        ),
        ("storage: azure", {"REGISTRY_STORAGE": f"[{KEY}]"}, "REGISTRY_STORAGE", "not list"),
        ("storage: azure", {"REGISTRY_STORAGE_A_": "x"}, "REGISTRY_STORAGE_A_", "at its end"),
        ("storage: azure", {"REGISTRY_STORAGE__A": "x"}, "REGISTRY_STORAGE__A", "in a row"),
        (f"storage: {{'{KEY}': {{}}, a: {{}}}}", {}, "storage", "not shown"),
        # What is no YAML, or more than plain values.
        (f"storage: [{KEY}", {}, "config", r"is no YAML of plain values \(line 1, column"),
        (f"storage: !!python/object/apply:os.system ['{KEY}']", {}, "config", "a tag of another"),
        (f"storage: !key {KEY}", {}, "config", "a tag of another kind"),
        (f"storage: *{LETTERS_OF_SECRET}", {}, "config", "is no YAML of plain values"),
        (f"? [{KEY}]\n: x", {}, "config", "is no YAML of plain values"),
        (f"a: 1\n---\nb: {KEY}", {}, "config", "is no YAML of plain values"),
        (f'a: "{KEY}\0"', {}, "config", "is no YAML of plain values"),
        (f"a: !!int {KEY}", {}, "config", "is no YAML"),
        (f"a: !!timestamp {KEY}", {}, "config", "is no YAML"),
        ("a: !!int " + "9" * 5000, {}, "config", "is no YAML"),
        (f"a: !!bool {KEY}", {}, "config", "is no YAML"),
        ("storage: !!set {azure, inmemory}", {}, "config", "a tag of another kind"),
    ],
)
def test_what_is_wrong_is_named_by_its_path_and_no_secret_shown(
    text: str, environ: dict[str, str], parameter: str, match: str
) -> None:
    with pytest.raises(ConfigurationError, match=match) as caught:
        from_registry_config(text=text, environ=environ)
    assert caught.value.parameter == parameter
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert LETTERS_OF_SECRET not in str(caught.value)


LETTERS = "abcdefgh"
BOMBS = {
    "aliases": "a: &a [x]\n"
    + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise(LETTERS)
    )
    + "storage: {azure: {container: registry, accountname: *h, credentials: {type: *h}}}",
    "merges": "a: &a {x: y}\n"
    + "".join(
        f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
        for before, name in pairwise(LETTERS)
    ),
    "recursion": "storage: &a {azure: *a}",
    "recursive list": "a: &a [*a]",
    "recursive merge": "a: &a {<<: *a}",
    "depth": "[" * 100_000,
    "closed depth": "[" * 300 + "]" * 300,
    "length": "a: " + "x" * 200_000,
    "nodes": "a: [" + "1," * 11_000 + "]",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(bomb: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_registry_config(text=BOMBS[bomb], environ={})
    assert caught.value.parameter == "config"
    with pytest.raises(ConfigurationError) as caught:
        from_registry_config(text="{}", environ={"REGISTRY_STORAGE": BOMBS[bomb]})
    assert caught.value.parameter == "REGISTRY_STORAGE"


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="{}[]:,&*!?|>-<'\"\n #%@`ab1~.", max_size=40),
    st.text(alphabet="{}[]:,&*!?|>-<'\"\n #%@`ab1~.", max_size=20),
)
def test_any_text_is_read_or_a_typed_error(text: str, value: str) -> None:
    for whole in (text, f"storage: {text}", f"storage: {{azure: {text}}}"):
        with pytest.raises(ConfigurationError):
            from_registry_config(text=whole, environ={"REGISTRY_STORAGE_AZURE_X": value})


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yml", tmp_path):
        with pytest.raises(ConfigurationError, match="config: cannot be read: "):
            from_registry_config(path, environ={})
    (tmp_path / "binary.yml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigurationError, match="is no text in UTF-8"):
        from_registry_config(tmp_path / "binary.yml", environ={})
    (tmp_path / "huge.yml").write_bytes(b"a" * 1_000_000)
    with pytest.raises(ConfigurationError, match="has more than 131072 characters"):
        from_registry_config(tmp_path / "huge.yml", environ={})


def test_it_is_a_path_or_a_text() -> None:
    for path, text in ((None, None), ("config.yml", CONFIG)):
        with pytest.raises(ConfigurationError, match="either a path or a text"):
            from_registry_config(path, text=text)
    with pytest.raises(ConfigurationError, match="is to be a text, not bytes"):
        from_registry_config(text=b"")  # type: ignore[arg-type]


def test_without_pyyaml_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registryyaml, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'azdriver\[yaml\]'"):
        from_registry_config(text=CONFIG, environ={})
