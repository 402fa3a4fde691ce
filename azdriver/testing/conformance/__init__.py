"""The suite that every driver has to pass, written once against the contract.

Subclass it in a test module, and give a fixture ``driver`` that is open, and empty for each test::

    class TestMyDriver(DriverConformance):
        capabilities = Capabilities(signs_urls=False)

        @pytest_asyncio.fixture
        async def driver(self) -> AsyncIterator[StorageDriver]:
            async with MyDriver() as driver:
                yield driver

It needs pytest and pytest-asyncio (in any mode), which ``pip install "azdriver[testing]"`` brings.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("pytest_asyncio") is None:  # which brings pytest
    raise ImportError(
        "azdriver.testing.conformance takes pytest and pytest-asyncio, which are not installed: "
        "python -m pip install 'azdriver[testing]'"
    )

from azdriver.testing.conformance.capabilities import Capabilities
from azdriver.testing.conformance.contents import ContentConformance
from azdriver.testing.conformance.lifecycle import LifecycleConformance
from azdriver.testing.conformance.paths import PathConformance
from azdriver.testing.conformance.readers import ReaderConformance
from azdriver.testing.conformance.streams import StreamConformance
from azdriver.testing.conformance.trees import TreeConformance
from azdriver.testing.conformance.urls import UrlConformance

__all__ = ["Capabilities", "DriverConformance"]


class DriverConformance(
    PathConformance,
    ContentConformance,
    ReaderConformance,
    StreamConformance,
    TreeConformance,
    UrlConformance,
    LifecycleConformance,
):
    """Every test of the contract. Subclass it, and give a fixture ``driver``.

    Attributes:
        capabilities: what the driver may leave out of the contract, and does.
    """
