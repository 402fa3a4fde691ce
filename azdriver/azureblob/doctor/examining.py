"""One examination: what is asked, in which order, and what is made of it."""

from __future__ import annotations

from typing import Final

import aiohttp
from azure.core.exceptions import AzureError

from azdriver.azureblob.client import Clients, WrapTransport
from azdriver.azureblob.doctor.access import about_clock, about_container, about_credential
from azdriver.azureblob.doctor.asking import ask
from azdriver.azureblob.doctor.blobs import about_blobs, about_features
from azdriver.azureblob.doctor.diagnosis import Answer, Diagnosis, Finding
from azdriver.azureblob.doctor.layouts import Recommended, about_layouts
from azdriver.azureblob.doctor.probing import probe
from azdriver.azureblob.doctor.sampling import Sample, sample_blobs, whole_container
from azdriver.azureblob.inventory import look_at
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import (
    Anonymous,
    AzureBlobOptions,
    ClientSecret,
    DefaultCredential,
    SasToken,
    SharedKey,
)
from azdriver.azureblob.translate import status_of, translated
from azdriver.errors import BackendError, StorageDriverError

__all__ = ["examine"]

_WORST_FIRST: Final = {"error": 0, "warning": 1, "info": 2}


async def examine(
    options: AzureBlobOptions,
    *,
    whole: bool = False,
    session: aiohttp.ClientSession | None = None,
    wrap_transport: WrapTransport | None = None,
) -> Diagnosis:
    """Look at a container as a driver with these options would find it.

    Nothing is changed, and the container is not created. Whatever the service refuses, or does not
    answer, is a finding, and no error.

    Args:
        options: of the driver.
        whole: look at every blob, by a request per 5,000, instead of at a sample by at most
            110 requests.
        session: as the driver's.
        wrap_transport: as the driver's.
    """
    clients = Clients(options, session, wrap_transport)
    try:
        return await _examine(clients, whole=whole)
    finally:
        await clients.close()


async def _examine(clients: Clients, *, whole: bool) -> Diagnosis:
    options = clients.options
    about = await ask(clients)
    is_reached = about.failure is None or status_of(about.failure) is not None
    sample = Sample()
    may: dict[str, Answer] = {}
    findings: list[Finding] = [*about_container(about, options), *about_clock(about.skew_seconds)]
    if is_reached:
        may_list: Answer = "unknown"
        if about.is_there is not False:
            try:
                with translated("", "doctor"):
                    sample = await (whole_container if whole else sample_blobs)(clients)
                may_list = "yes"
            except StorageDriverError as error:
                may_list = "no" if _is_refused(options, error) else "unknown"
                if may_list == "unknown":
                    findings.append(Finding("error", "not-listed", error.describe()))
        is_there = about.is_there is True or may_list == "yes"
        may = await probe(clients, is_there=is_there, may_list=may_list)
        if sample.first is not None:
            about.features["versioning"] = await _is_versioned(clients, sample.first.name)
    counts = sample.counts()
    layouts = sample.layouts()
    recommended: Recommended = {}
    findings += about_credential(
        options, may, is_reached=is_reached and about.is_there is not False
    )
    findings += about_features(about.features)
    if may.get("list") == "yes":
        about_them = about_layouts(layouts, counts, options, sample.only_directory)
        findings += about_them.findings
        findings += about_blobs(counts, about_them.migration, about_them.conversion)
        recommended = about_them.recommended
    return Diagnosis(
        account_url=options.account_url,
        container=options.container,
        credential=_kind_of(options),
        is_emulator=about.is_emulator,
        clock_skew_seconds=about.skew_seconds,
        may=may,
        features=about.features,
        layouts=layouts,
        counts=counts,
        findings=tuple(sorted(findings, key=lambda finding: _WORST_FIRST[finding.severity])),
        recommended=recommended,
    )


def _is_refused(options: AzureBlobOptions, error: StorageDriverError) -> bool:
    # To an anonymous caller what is not public is not there, or is not what may be asked for.
    return isinstance(options.credential, Anonymous) or (
        isinstance(error, BackendError) and error.status in (401, 403)
    )


async def _is_versioned(clients: Clients, name: str) -> bool | None:
    """Whether blobs have versions, as one of them tells; None if it may not be read."""
    try:
        blob = await look_at(clients, BlobName(name))
    except AzureError:
        return None
    return None if blob is None else blob.version_id is not None


def _kind_of(options: AzureBlobOptions) -> str:
    credential = options.credential
    known = SharedKey | SasToken | ClientSecret | DefaultCredential | Anonymous
    kind = type(credential).__name__
    return kind if isinstance(credential, known) else f"token credential ({kind})"
