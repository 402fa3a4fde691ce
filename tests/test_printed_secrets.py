"""That the search for printed secrets, which every test ends with, finds them."""

from __future__ import annotations

import pytest

from azdriver.testing.azurite import DEVSTORE_KEY
from printed_secrets import printed_secret


@pytest.mark.parametrize(
    "secret",
    [
        "?sv=2021-12-02&sig=abcdefghijkl%2Bmno&se=1",
        f"AccountName=a;AccountKey={'QUJD' * 8};",
        "Authorization: SharedKey account:QUJD",
        "Authorization: Bearer eyJhbGciOi.J9",
        DEVSTORE_KEY,
    ],
)
def test_a_secret_is_found(secret: str) -> None:
    found = printed_secret(f"DEBUG some text before it {secret} and after it")
    assert found is not None
    assert found[:40].strip()
    assert found.split()[-1] in secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sig=…&se=1",
        "sig=REDACTED",
        "AccountKey=…;",
        "'Authorization': 'REDACTED'",
        "the Bearer token was refused",
        "SharedKey(account_name='a', account_key=…)",
    ],
)
def test_what_is_hidden_is_none(text: str) -> None:
    assert printed_secret(text) is None
