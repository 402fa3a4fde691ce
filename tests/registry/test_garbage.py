"""Garbage collection: what goes, what stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from aged_driver import AgedDriver, paths
from azdriver import MemoryDriver, StorageDriver
from azdriver.testing.conformance import Capabilities
from oci_registry import layout
from oci_registry.garbage import Collected, GarbageCollector
