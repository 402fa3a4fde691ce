"""What the account and the container say of themselves, where this may be asked."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, HttpResponseError

from azdriver.azureblob.client import Clients
from azdriver.azureblob.httpdate import parse_http_date
from azdriver.azureblob.options import SharedKey
from azdriver.azureblob.translate import error_code, status_of

__all__ = ["About", "ask"]

_EMULATOR_ACCOUNT = "devstoreaccount1"


@dataclass(slots=True)
class About:
    """What was learnt.

    Attributes:
        is_there: whether the container is; None if that could not be asked.
        failure: by which the container could not be asked.
        is_emulator: whether it is Azurite.
        skew_seconds: the service's clock less this machine's.
        features: see :class:`azdriver.azureblob.doctor.Diagnosis`.
    """

    is_there: bool | None = None
    failure: AzureError | None = None
    is_emulator: bool = False
    skew_seconds: float | None = None
    features: dict[str, str | int | bool | None] = field(default_factory=dict)


async def ask(clients: Clients) -> About:
    """Three requests that read."""
    about = About()
    credential = clients.options.credential
    host = urlsplit(clients.options.account_url)
    about.is_emulator = host.path.strip("/") == _EMULATOR_ACCOUNT or (
        isinstance(credential, SharedKey) and credential.account_name == _EMULATOR_ACCOUNT
    )
    watch = _Watch(about)
    try:
        container = await watch.over(clients.container.get_container_properties)
    except AzureError as error:
        about.failure = error
        # To an anonymous caller what is not public is not there either.
        about.is_there = False if error_code(error) == "ContainerNotFound" else None
        if status_of(error) is None:
            return about  # no answer: nor would there be one to the others
    else:
        about.is_there = True
        about.features["public_access"] = container.public_access or "off"
        about.features["immutability"] = bool(
            container.has_immutability_policy or container.has_legal_hold
        )
    try:
        account = await watch.over(clients.container.get_account_information)
    except AzureError:
        pass
    else:
        about.features["sku"] = account.get("sku_name")
        about.features["account_kind"] = account.get("account_kind")
        about.features["hierarchical_namespace"] = account.get("is_hns_enabled")
    try:
        service = await watch.over(clients.service.get_service_properties)
    except AzureError:
        pass
    else:
        retention = service.get("delete_retention_policy")
        days = retention.days if retention is not None and retention.enabled else 0
        about.features["soft_delete_days"] = days
    return about


class _Watch:
    """Reads the clock and the server's name off every answer."""

    def __init__(self, about: About) -> None:
        self._about = about

    async def over(self, send: Callable[..., Awaitable[Any]]) -> Any:
        began = time.time()
        answers: list[Any] = []
        try:
            return await send(raw_response_hook=answers.append)
        except HttpResponseError as error:
            response: Any = error.response
            if response is not None:
                self._read(began, response.headers)
            raise
        finally:
            if answers:
                self._read(began, answers[-1].http_response.headers)

    def _read(self, began: float, headers: Any) -> None:
        if "Azurite" in str(headers.get("Server") or ""):
            self._about.is_emulator = True
        if self._about.skew_seconds is not None:
            return
        try:
            there = parse_http_date(headers.get("Date"))
        except AzureError:
            return
        # Its seconds are cut, so that on the average half of one is missing.
        middle = datetime.fromtimestamp((began + time.time()) / 2, UTC)
        self._about.skew_seconds = round((there - middle).total_seconds() + 0.5, 1)
