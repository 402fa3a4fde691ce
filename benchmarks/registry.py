"""How fast is the OCI registry in examples/, beside Debian's docker-registry?

An image is pushed, and pulled, by one client that is the same for all: the layers several at once,
each by POST, PATCH and PUT. Ours stores in memory, and on Azurite, over HTTP to a further
process; docker-registry stores in files, and has no other driver that could be compared. Each
sample has servers of its own, so that the peaks of their memory are those of the sample.

``python -m benchmarks.report.registry`` makes the tables of docs/registry.md out of the raw lines.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

import azdriver
from azdriver.testing.azurite import azurite
from benchmarks.harness import ROOT, Session, arguments, session

__all__ = ["PEERS", "RESULTS", "measure"]

RESULTS: Final = ROOT / "benchmarks" / "results" / "registry.jsonl"
DOCKER_REGISTRY: Final = shutil.which("docker-registry")
MIB: Final = 1024 * 1024
AT_ONCE: Final = 4
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Servers:
    """Where a registry serves, and the processes that it consists of."""

    url: URL
    registry_pid: int
    backend_pid: int | None = None


@asynccontextmanager
async def _process(
    command: Sequence[str], said: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[int, str]]:
    """Start a server; its identifier, and what follows ``said`` in its output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    output = process.stdout
    read_on = None
    try:
        lines = []
        async with asyncio.timeout(60):
            while line := (await output.readline()).decode():
                lines.append(line)
                if said in line:
                    break
            else:
                raise RuntimeError(f"{command[0]} did not start: {''.join(lines)}")
        # So that a server that says much is not held up.
        read_on = asyncio.create_task(output.read())
        yield process.pid, line.partition(said)[2].split('"')[0].strip()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        if read_on is not None:
            await read_on
        await process.wait()


@asynccontextmanager
async def _ours(
    url: str, environment: Mapping[str, str], backend_pid: int | None = None
) -> AsyncIterator[Servers]:
    program = (sys.executable, "-m", "oci_registry", "serve", "--url", url, "--port", "0")
    path = os.pathsep.join((str(ROOT / "examples"), str(ROOT)))
    environment = {**environment, "PYTHONPATH": path}
    async with _process(program, "serving on ", environment) as (pid, where):
        yield Servers(URL(where), pid, backend_pid)


@asynccontextmanager
async def _on_memory() -> AsyncIterator[Servers]:
    async with _ours("memory:", {}) as servers:
        yield servers


@asynccontextmanager
async def _on_azurite() -> AsyncIterator[Servers]:
    own = "AZDRIVER_AZURITE" not in os.environ
    async with azurite(extent_memory_limit_mb=4096 if own else None) as server:
        environment = {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string}
        url = f"azure:///bench-{time.time_ns():x}"
        async with _ours(url, environment, server.pid) as servers:
            yield servers


@asynccontextmanager
async def _docker_registry() -> AsyncIterator[Servers]:
    assert DOCKER_REGISTRY is not None
    with tempfile.TemporaryDirectory(prefix="azdriver-benchmark-") as directory:
        configuration = Path(directory) / "config.yml"
        settings = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": f"{directory}/data"},
                "cache": {"blobdescriptor": "inmemory"},  # as Debian configures it
            },
            "http": {"addr": "127.0.0.1:0", "secret": "of no worth"},
        }
        configuration.write_text(json.dumps(settings))  # YAML, too
        command = (DOCKER_REGISTRY, "serve", str(configuration))
        async with _process(command, 'msg="listening on ') as (pid, where):
            yield Servers(URL(f"http://{where}"), pid)


PEERS: Final = {
    "azdriver-memory": _on_memory,
    "azdriver-azurite": _on_azurite,
    "docker-registry": _docker_registry,
}


def _cpu_seconds(pid: int) -> float:
    # After the name, which may have blanks; utime and stime, those of children left out.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc")


@contextmanager
def _measured(servers: Servers, row: dict[str, Any]) -> Iterator[None]:
    """Wall seconds, CPU seconds of all processes, and the peak of the registry's memory."""
    pids = {"cpu_seconds": servers.registry_pid}
    if servers.backend_pid is not None:
        pids["backend_cpu_seconds"] = servers.backend_pid
    Path(f"/proc/{servers.registry_pid}/clear_refs").write_text("5")  # the peak begins anew
    before = {name: _cpu_seconds(pid) for name, pid in pids.items()}
    own = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    yield
    row["seconds"] = round(time.perf_counter() - began, 6)
    for name, pid in pids.items():
        row[name] = round(_cpu_seconds(pid) - before[name], 2)
    after = resource.getrusage(resource.RUSAGE_SELF)
    client = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
    row["client_cpu_seconds"] = round(client, 3)
    row["peak_rss_bytes"] = _peak_bytes(servers.registry_pid)


class Client:
    """Pushes and pulls, several layers at once."""

    def __init__(self, session: aiohttp.ClientSession, base: URL) -> None:
        self.session = session
        self.base = base
        self._places = asyncio.Semaphore(AT_ONCE)

    async def push(self, name: str, layers: Mapping[str, bytes]) -> None:
        async with asyncio.TaskGroup() as group:
            for digest, content in layers.items():
                group.create_task(self._push_blob(name, digest, content))
        sizes = [{"digest": digest, "size": len(content)} for digest, content in layers.items()]
        media_type = "application/vnd.oci.image.layer.v1.tar"
        described = [{"mediaType": media_type, **size} for size in sizes]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0]}
        manifest["layers"] = described[1:]
        await self._ask(
            "PUT",
            self._url(f"/v2/{name}/manifests/latest"),
            201,
            json.dumps(manifest).encode(),
            {"Content-Type": MANIFEST},
        )

    async def _push_blob(self, name: str, digest: str, content: bytes) -> None:
        async with self._places:
            # Where to go on may be a whole URL, and have a query.
            place = await self._ask("POST", self._url(f"/v2/{name}/blobs/uploads/"), 202)
            kind = {"Content-Type": "application/octet-stream"}
            place = await self._ask("PATCH", place, 202, content, kind)
            separator = "&" if place.query_string else "?"
            place = URL(f"{place}{separator}digest={digest}", encoded=True)
            await self._ask("PUT", place, 201)

    async def pull(self, name: str) -> int:
        """Pull an image, and verify it; returns the bytes of its blobs."""
        url = self._url(f"/v2/{name}/manifests/latest")
        async with self.session.get(url, headers={"Accept": MANIFEST}) as response:
            response.raise_for_status()
            manifest = json.loads(await response.read())
        blobs = [manifest["config"]["digest"], *(each["digest"] for each in manifest["layers"])]
        return sum(await asyncio.gather(*(self._pull_blob(name, blob) for blob in blobs)))

    async def _pull_blob(self, name: str, digest: str) -> int:
        found = hashlib.sha256()
        size = 0
        async with self._places, self.session.get(self._url(f"/v2/{name}/blobs/{digest}")) as got:
            got.raise_for_status()
            async for chunk in got.content.iter_any():
                found.update(chunk)
                size += len(chunk)
        if f"sha256:{found.hexdigest()}" != digest:
            raise RuntimeError(f"{digest} came with other bytes")
        return size

    def _url(self, path: str) -> URL:
        return self.base.join(URL(path, encoded=True))

    async def _ask(
        self,
        method: str,
        url: URL,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> URL:
        """Send a request; returns the location that it is answered with."""
        data = io.BytesIO(body) if body else None
        async with self.session.request(method, url, data=data, headers=headers) as response:
            if response.status != status:
                raise RuntimeError(f"{method} is {response.status}: {await response.text()}")
            return self.base.join(URL(response.headers.get("Location", ""), encoded=True))


def _layers(count: int, size: int) -> dict[str, bytes]:
    made = (random.randbytes(size) for _ in range(count))
    return {"sha256:" + hashlib.sha256(content).hexdigest(): content for content in made}


async def _sample(
    opener: AbstractAsyncContextManager[Servers], count: int, size: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An image pushed, and pulled again."""
    layers = _layers(count, size)
    pushed: dict[str, Any] = {"bytes": count * size}
    pulled: dict[str, Any] = {"bytes": count * size}
    async with opener as servers, aiohttp.ClientSession() as http:
        client = Client(http, servers.url)
        # What each server does only once is not measured.
        await client.push("warm/up", _layers(2, 1000))
        await client.pull("warm/up")
        with _measured(servers, pushed):
            await client.push("bench/image", layers)
        with _measured(servers, pulled):
            size_pulled = await client.pull("bench/image")
    if size_pulled != count * size:
        raise RuntimeError(f"{size_pulled} bytes came of {count * size}")
    return pushed, pulled


def measure(run: Session) -> None:
    settings = run.settings
    peers = [peer for peer in PEERS if not settings.only_peers or peer in settings.only_peers]
    if DOCKER_REGISTRY is None and "docker-registry" in peers:
        run.output.row({"left_out": "docker-registry", "reason": "it is not installed"})
        peers.remove("docker-registry")
    for peer in peers:
        run.output.row({"peer": peer, "version": _version(peer)})
    cases = {
        "large": (settings.scale(8, 2), settings.scale(32 * MIB, MIB)),
        "small": (settings.scale(200, 4), settings.scale(16 * 1024, 1024)),
    }
    for number in range(settings.rounds):
        for case, (count, size) in cases.items():
            for peer in random.sample(peers, k=len(peers)):  # drift must hit all alike
                setting = {"case": case, "layers": count, "layer_bytes": size, "at_once": AT_ONCE}
                told = {"peer": peer, "round": number, **setting}
                try:
                    pushed, pulled = asyncio.run(_sample(PEERS[peer](), count, size))
                except Exception as error:  # in the output, and the others go on
                    run.output.row({"workload": "registry", **told, "error": repr(error)})
                    run.output.failed(f"{told}: {error!r}")
                    continue
                for workload, row in (("push", pushed), ("pull", pulled)):
                    run.output.row({"workload": f"registry_{workload}", **told, **row})
                    speed = row["bytes"] / row["seconds"] / 1e6
                    run.output.say(f"{workload} {case} {peer} #{number}: {speed:.0f} MB/s")


def _version(peer: str) -> str:
    if peer != "docker-registry":
        return azdriver.__version__
    assert DOCKER_REGISTRY is not None
    done = subprocess.run(
        [DOCKER_REGISTRY, "--version"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--note", help="what is to be known of the run; it goes to its first lines")
    settings = arguments(None, parser)
    with session(settings) as run:
        if note := parser.parse_args().note:
            run.output.row({"note": note})
        measure(run)


if __name__ == "__main__":
    main()
