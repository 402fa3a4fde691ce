"""Which driver is meant: the command line before the environment, and that before the file."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from azdriver import ConfigurationError, MemoryDriver, StorageDriver
from azdriver.cli.failures import Failure, UsageFailure, describe, redacted, status_of
from azdriver.cli.options import parse_duration, parse_size
from azdriver.cli.output import human_size
from azdriver.cli.settings import Settings, destination, open_driver

KEY = "c2VjcmV0LWtleS1vZi1hbi1hY2NvdW50LXRoYXQtaXMtbm90LXNob3du" + "A" * 30 + "=="

CONFIG = f"""
profile = "small"

[profiles.small]
driver = "memory"
maxcontentbytes = 5

[profiles.url]
url = "memory:?maxcontentbytes=6"

[profiles.mixed]
url = "memory:"
maxcontentbytes = 7

[profiles.neither]
accountkey = "{KEY}"

[profiles.wrong]
driver = "memory"
no_such = "{KEY}"
"""


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZDRIVER_URL", "AZDRIVER_PROFILE", "AZDRIVER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration file in its usual place."""
    path = Path(click.get_app_dir("azdriver"), "config.toml")
    path.parent.mkdir(parents=True)
    path.write_text(CONFIG, "utf-8")
    assert path.is_relative_to(tmp_path)
    return path


async def limit(settings: Settings) -> int:
    """By the largest content that it takes, one knows which driver it is."""
    async with open_driver(settings) as driver:
        assert isinstance(driver, MemoryDriver | StorageDriver)
        for size in range(1, 20):
            try:
                await driver.put_content("/x", b"x" * size)
            except ValueError:
                return size - 1
    return 20


async def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await limit(Settings()) == 5
    monkeypatch.setenv("AZDRIVER_PROFILE", "url")
    assert await limit(Settings()) == 6
    monkeypatch.setenv("AZDRIVER_URL", "memory:?maxcontentbytes=8")
    assert await limit(Settings()) == 8
    assert await limit(Settings(profile="small")) == 5
    assert await limit(Settings(url="memory:?maxcontentbytes=9")) == 9


async def test_the_file_may_be_elsewhere(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = config.with_name("other.toml")
    other.write_text('profile = "x"\n[profiles.x]\nurl = "memory:?maxcontentbytes=3"\n', "utf-8")
    assert await limit(Settings(config=other)) == 3
    monkeypatch.setenv("AZDRIVER_CONFIG", str(other))
    assert await limit(Settings()) == 3
    assert await limit(Settings(config=config)) == 5


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (Settings(url="memory:", profile="small"), "--url and --profile exclude each other"),
        (Settings(profile="none"), "no profile 'none'; there are: small, url, mixed, neither"),
        (Settings(profile="mixed"), "profile 'mixed' has an url, and can have nothing else"),
        (Settings(profile="neither"), "is to have either an url or a driver"),
        (Settings(config=Path("/no/such/file")), "/no/such/file: No such file or directory"),
    ],
)
def test_what_is_wrong_with_the_settings(config: Path, settings: Settings, reason: str) -> None:
    with pytest.raises(UsageFailure) as caught:
        open_driver(settings)
    assert reason in str(caught.value)
    assert status_of(caught.value) == 2
    assert KEY not in str(caught.value)


async def test_a_parameter_is_named_and_its_value_is_not(config: Path) -> None:
    with pytest.raises(ConfigurationError, match="no_such") as caught:
        async with open_driver(Settings(profile="wrong")):
            pass
    assert KEY not in str(caught.value)


def test_no_driver_at_all() -> None:
    with pytest.raises(UsageFailure, match="no driver: give --url or --profile, set AZDRIVER_URL"):
        open_driver(Settings())


def test_a_file_that_is_no_toml(config: Path) -> None:
    config.write_text(f"accountkey = {KEY}", "utf-8")
    with pytest.raises(UsageFailure, match="not valid TOML: Invalid value") as caught:
        open_driver(Settings())
    assert KEY not in str(caught.value)


def test_what_names_an_upload_holds_no_secret(config: Path) -> None:
    url = f"azure://account/container/root?accountkey={KEY}"
    named = "https://account.blob.core.windows.net/container/root"
    assert destination(Settings(url=url)) == named
    assert destination(Settings(profile="small")).startswith("memory|")


def test_profiles_of_two_accounts_do_not_share_their_records(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(
        "".join(
            f"""
            [profiles.{account}]
            driver = "azure"
            container = "container"
            connectionstring = "AccountName={account};AccountKey={KEY}"
            """
            for account in ("one", "two")
        ),
        "utf-8",
    )
    one, two = (destination(Settings(config=file, profile=name)) for name in ("one", "two"))
    assert (one, two) == (
        "https://one.blob.core.windows.net/container/",
        "https://two.blob.core.windows.net/container/",
    )


@pytest.mark.parametrize(
    "text",
    [
        f"AccountName=x;AccountKey={KEY};EndpointSuffix=y",
        f"https://x.blob.core.windows.net/c/b?sv=2025&sig={KEY}&se=1",
        f"azure://account/container?accountkey={KEY}",
        f"credentials.secret={KEY}",
        f"Authorization: Bearer {KEY}",
        f"Authorization: SharedKey account:{KEY}",
        f"unexpected extra argument ({KEY})",
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str) -> None:
    assert KEY not in redacted(text)
    assert KEY not in describe(Failure(text))
    assert "…" in redacted(text)


def test_an_ordinary_message_is_shown_as_it_is() -> None:
    text = "azure: parameter credentials.secret: is missing; path: /a/sig/password"
    assert redacted(text) == text


def test_an_error_is_one_line() -> None:
    assert describe(Failure("one\n  two\n")) == "one; two"
    assert describe(ZeroDivisionError("x")) == "internal error: ZeroDivisionError: x"


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("10", 10), ("1K", 1024), ("4MiB", 4 << 20), ("2gb", 2 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2m", 120), ("1h", 3600), ("1d", 86400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text).total_seconds() == seconds


def test_human_sizes() -> None:
    shown = [human_size(size) for size in (0, 1023, 1024, 1536, 1024**2 - 1, 5 * 1024**4)]
    assert shown == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 TiB"]
