"""Artifacts through the Python package oras, which uploads whole or by ranges."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from oras.client import OrasClient
from oras.oci import Subject

from registry_client import IMAGE, sha256
from registry_processes import RunningRegistry


@pytest.mark.parametrize("do_chunked", [False, True], ids=["whole", "chunked"])
async def test_an_artifact_and_what_refers_to_it(
    running: RunningRegistry,
    do_chunked: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where it looks for credentials
    files = {"model": random.Random(2).randbytes(1_000_000), "notes": b"of this model"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    def push(tag: str, file: str, subject: Subject | None = None) -> str:
        response = client.push(
            f"{running.host}/models/small:{tag}",
            # It takes the type of the content after a colon.
            files=[f"{tmp_path / file}:application/vnd.example.{file}"],
            subject=subject,
            do_chunked=do_chunked,
            chunk_size=300_000,
            disable_path_validation=True,
        )
        digest: str = response.headers["Docker-Content-Digest"]
        sent = response.request.body
        assert digest == sha256(sent)
        if subject is not None:
            assert response.headers["OCI-Subject"] == subject.digest
        sizes[digest] = len(sent)
        return digest

    def use() -> None:
        model = push("v1", "model")
        notes = push("v1-notes", "notes", Subject(IMAGE, model, sizes[model]))

        repository = f"{running.host}/models/small"
        assert client.get_tags(repository) == ["v1", "v1-notes"]
        for tag, file in (("v1", "model"), ("v1-notes", "notes")):
            (pulled,) = client.pull(f"{repository}:{tag}", outdir=str(tmp_path / "pulled"))
            assert Path(pulled).read_bytes() == files[file]
        referrers = client.session.get(
            f"{running.url}v2/models/small/referrers/{model}", timeout=60
        ).json()
        assert [found["digest"] for found in referrers["manifests"]] == [notes]
        assert client.delete_tags(repository, ["v1-notes"]) == ["v1-notes"]
        assert client.get_tags(repository) == ["v1"]

    sizes: dict[str, int] = {}
    client: Any = OrasClient(insecure=True)  # several of its annotations are wrong
    with client.session:
        # Not in the event loop, which it would block.
        await asyncio.to_thread(use)
