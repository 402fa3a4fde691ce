"""The token of a driver: asked for once by many tasks, ahead of its end, and never shown."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from azdriver import AzureBlobOptions, ConfigurationError
from azdriver.azureblob import ClientSecret, DefaultCredential, SharedKey
from azdriver.azureblob import tokens as tokens_module
from azdriver.azureblob.tokens import STORAGE_SCOPE, NoTokenError, Tokens, open_tokens
from azdriver.testing.tokens import LocalCredential

SECRET = "c2VjcmV0LXRva2Vu"


class Clock:
    """Seconds since 1970, which pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Issuer:
    """A credential by the test's clock; each token is a number."""

    def __init__(self, clock: Clock, lifetime: float = 3600) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.asked: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        assert scopes == (STORAGE_SCOPE,)
        self.asked.append(kwargs)
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return AccessToken(str(len(self.asked)), int(self.clock.now + self.lifetime))


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def asked_by(tokens: Tokens, tasks: int = 1) -> list[str]:
    given = await asyncio.gather(*(tokens.get_token(STORAGE_SCOPE) for _ in range(tasks)))
    await asyncio.sleep(0.01)  # for a renewal that nobody waits for
    return [token.token for token in given]


async def test_many_tasks_ask_once() -> None:
    credential = LocalCredential(delay_seconds=0.02)
    tokens = Tokens(credential)
    given = await asked_by(tokens, 100)
    assert len(set(given)) == len(credential.issued) == 1
    assert credential.asked == [((STORAGE_SCOPE,), {})]


async def test_a_token_is_renewed_ahead_of_its_end_once(clock: Clock) -> None:
    issuer = Issuer(clock)
    tokens = Tokens(issuer, clock=clock)
    assert await asked_by(tokens) == ["1"]
    clock.now += 3600 - 301
    assert set(await asked_by(tokens, 100)) == {"1"}
    assert len(issuer.asked) == 1
    clock.now += 2
    await asked_by(tokens, 100)
    assert set(await asked_by(tokens, 100)) == {"2"}
    assert len(issuer.asked) == 2


async def test_nobody_waits_for_the_next_token_while_the_last_one_is_good(clock: Clock) -> None:
    issuer = Issuer(clock)
    tokens = Tokens(issuer, clock=clock)
    await asked_by(tokens)
    issuer.may_answer.clear()
    clock.now += 3600 - 200
    async with asyncio.timeout(1):
        assert set(await asked_by(tokens, 100)) == {"1"}
    assert len(issuer.asked) == 2
    clock.now += 195  # now its end is too near for a request to arrive in time
    waiting = asyncio.create_task(asked_by(tokens, 100))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    issuer.may_answer.set()
    assert set(await waiting) == {"2"}
    assert len(issuer.asked) == 2


async def test_a_token_of_a_minute_is_not_renewed_at_every_request(clock: Clock) -> None:
    issuer = Issuer(clock, lifetime=60)
    tokens = Tokens(issuer, clock=clock)
    for _ in range(120):
        await tokens.get_token(STORAGE_SCOPE)
        await asyncio.sleep(0)
        clock.now += 1
    assert 3 <= len(issuer.asked) <= 5


async def test_a_failure_is_one_for_all_that_wait_and_is_not_kept(clock: Clock) -> None:
    issuer = Issuer(clock)
    issuer.error = RuntimeError(f"no login with {SECRET}")
    tokens = Tokens(issuer, clock=clock)
    outcomes = await asyncio.gather(
        *(tokens.get_token(STORAGE_SCOPE) for _ in range(50)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {NoTokenError}
    assert {str(outcome) for outcome in outcomes} == {"no token from Issuer: RuntimeError"}
    assert len(issuer.asked) == 1
    clock.now += 1
    issuer.error = None
    assert await asked_by(tokens) == ["2"]


async def test_a_token_that_cannot_be_renewed_serves_until_its_end(clock: Clock) -> None:
    issuer = Issuer(clock)
    tokens = Tokens(issuer, clock=clock)
    await asked_by(tokens)
    issuer.error = OSError("no network")
    clock.now += 3600 - 290
    for _ in range(100):
        assert await asked_by(tokens) == ["1"]
        clock.now += 0.1
    # Once a second, not at every request.
    assert 5 <= len(issuer.asked) <= 13
    clock.now += 280
    with pytest.raises(NoTokenError, match="no token from Issuer: OSError"):
        await tokens.get_token(STORAGE_SCOPE)


async def test_a_server_cannot_choose_what_a_token_is_for(clock: Clock) -> None:
    tokens = Tokens(Issuer(clock), clock=clock)
    assert (await tokens.get_token("https://vault.azure.net/.default")).token == "1"


async def test_the_accounts_tenant_is_kept(clock: Clock) -> None:
    """The service names it to a token of another tenant; the SDK's policy then asks for one."""
    issuer = Issuer(clock)
    tokens = Tokens(issuer, clock=clock)
    await asked_by(tokens)
    named = await asyncio.gather(
        *(tokens.get_token(STORAGE_SCOPE, tenant_id="theirs") for _ in range(50))
    )
    assert {token.token for token in named} == {"2"}
    assert await asked_by(tokens) == ["2"]
    clock.now += 3600
    await asked_by(tokens)
    assert issuer.asked == [{}, {"tenant_id": "theirs"}, {"tenant_id": "theirs"}]


async def test_claims_and_cae_are_handed_on(clock: Clock) -> None:
    issuer = Issuer(clock)
    tokens = Tokens(issuer, clock=clock)
    await tokens.get_token(STORAGE_SCOPE, enable_cae=True)
    assert (await tokens.get_token(STORAGE_SCOPE, claims="{}", enable_cae=True)).token == "2"
    assert await asked_by(tokens) == ["2"]
    assert issuer.asked == [{"enable_cae": True}, {"enable_cae": True, "claims": "{}"}]


@pytest.mark.parametrize(
    "answer",
    [
        AccessToken("", 2_000_000_000),
        AccessToken(f"{SECRET} {SECRET}", 2_000_000_000),
        AccessToken(f"{SECRET}\r\nx-ms-date: 1", 2_000_000_000),
        AccessToken(f"{SECRET}é", 2_000_000_000),
        AccessToken(None, 2_000_000_000),  # type: ignore[arg-type]
        AccessToken(SECRET, None),  # type: ignore[arg-type]
        SECRET,
        None,
    ],
    ids=str,
)
async def test_what_is_no_token_is_refused_and_not_shown(answer: Any) -> None:
    class Odd:
        async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
            return answer  # type: ignore[no-any-return]

    with pytest.raises(NoTokenError, match="no token from Odd") as caught:
        await Tokens(Odd()).get_token(STORAGE_SCOPE)
    assert SECRET not in f"{caught.value!s}{caught.value!r}"


async def test_the_code_of_entra_id_is_shown_and_not_its_text(clock: Clock) -> None:
    issuer = Issuer(clock)
    issuer.error = ValueError(f"AADSTS7000215: Invalid client secret provided: {SECRET}")
    with pytest.raises(NoTokenError) as caught:
        await Tokens(issuer, clock=clock).get_token(STORAGE_SCOPE)
    assert str(caught.value) == "no token from Issuer: ValueError AADSTS7000215"


async def test_a_cancelled_task_leaves_the_renewal_to_the_next(clock: Clock) -> None:
    issuer = Issuer(clock)
    issuer.may_answer.clear()
    tokens = Tokens(issuer, clock=clock)
    tasks = [asyncio.create_task(tokens.get_token(STORAGE_SCOPE)) for _ in range(3)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    issuer.may_answer.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert {outcome.token for outcome in outcomes if isinstance(outcome, AccessToken)} == {"2"}


async def test_only_a_credential_of_its_own_is_closed(clock: Clock) -> None:
    theirs, own = LocalCredential(), LocalCredential()
    async with Tokens(theirs), Tokens(own, owned=True):
        pass
    assert (theirs.closed, own.closed) == (0, 1)


async def test_closing_ends_a_renewal(clock: Clock) -> None:
    issuer = Issuer(clock)
    tokens = Tokens(issuer, clock=clock, owned=True)
    await asked_by(tokens)
    issuer.may_answer.clear()
    clock.now += 3600 - 200
    await asked_by(tokens)
    async with asyncio.timeout(1):
        await tokens.close()
    assert len(asyncio.all_tasks()) == 1


async def test_a_renewal_that_nobody_waits_for_has_an_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "PATIENCE_SECONDS", 0.02)
    issuer = Issuer(clock)
    tokens = Tokens(issuer, clock=clock)
    await asked_by(tokens)
    issuer.may_answer.clear()
    clock.now += 3600 - 200
    await asked_by(tokens)
    await asyncio.sleep(0.05)
    issuer.may_answer.set()
    await asked_by(tokens)
    assert await asked_by(tokens) == ["3"]


def options(credential: Any, account_url: str) -> AzureBlobOptions:
    return AzureBlobOptions(account_url=account_url, container="registry", credential=credential)


async def test_an_account_key_takes_no_token() -> None:
    assert open_tokens(options(SharedKey("account", "a2V5"), "https://account.host")) is None


@pytest.mark.parametrize(
    ("realm", "authority"),
    [
        ("core.windows.net", "login.microsoftonline.com"),
        ("core.chinacloudapi.cn", "login.chinacloudapi.cn"),
        ("core.usgovcloudapi.net", "login.microsoftonline.us"),
    ],
)
async def test_the_cloud_of_the_endpoint_is_where_it_signs_in(
    monkeypatch: pytest.MonkeyPatch, realm: str, authority: str
) -> None:
    from azure.identity import aio

    made: list[tuple[tuple[str, ...], dict[str, str]]] = []

    class Recorded(LocalCredential):
        def __init__(self, *args: str, logger: logging.Logger, **kwargs: str) -> None:
            super().__init__()
            made.append((args, kwargs))

    monkeypatch.delenv("AZURE_AUTHORITY_HOST", raising=False)
    monkeypatch.setattr(aio, "ClientSecretCredential", Recorded)
    monkeypatch.setattr(aio, "DefaultAzureCredential", Recorded)
    account_url = f"https://account.blob.{realm}"
    for credential in (ClientSecret("tenant", "client", SECRET), DefaultCredential()):
        opened = open_tokens(options(credential, account_url))
        assert opened is not None
        await opened.close()
    expected = {} if realm == "core.windows.net" else {"authority": authority}
    assert made == [(("tenant", "client", SECRET), expected), ((), expected)]
    made.clear()
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "login.example.com")
    open_tokens(options(DefaultCredential(), account_url))
    assert made == [((), {})]


async def test_what_azure_identity_refuses_is_a_wrong_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "http://login.example.com")
    secret = ClientSecret("tenant", "client", SECRET)
    with pytest.raises(ConfigurationError, match="parameter credential: ClientSecret is refused"):
        open_tokens(options(secret, "https://account.blob.core.windows.net"))
