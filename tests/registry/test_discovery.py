"""Tags, repositories, referrers: what there is."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest

from azdriver import PathNotFoundError, StorageDriver
from oci_registry.settings import RegistrySettings
from registry_client import (
    IMAGE,
    INDEX,
    Answer,
    OpenRegistry,
    RegistryClient,
    descriptor,
    sha256,
    sha512,
)

TAGS = ["A", "Z", "_", "a", "a-b", "a.b", "a_b", "ab", "v1", "v10", "v2"]


async def _push_tags(registry: RegistryClient, name: str, tags: list[str]) -> str:
    manifest = await registry.image(name, b"layer")
    digest = sha256(json.dumps(manifest).encode())
    query = "&".join(f"tag={tag}" for tag in reversed(tags))
    await registry.push_manifest(name, f"{digest}?{query}", manifest)
    return digest


async def _answers(registry: RegistryClient, path: str) -> list[Answer]:
    answers = []
    while path:
        answer = await registry.ask("GET", path, status=200)
        answers.append(answer)
        link = answer.headers.get("Link", "")
        match = re.fullmatch(r'<(/v2/[^>]+)>; rel="next"', link)
        assert bool(link) == bool(match)
        path = match[1] if match else ""
    return answers


async def _pages(registry: RegistryClient, path: str, key: str) -> list[list[str]]:
    return [answer.json[key] for answer in await _answers(registry, path)]


async def test_tags_are_listed_in_the_order_of_their_bytes(registry: RegistryClient) -> None:
    await _push_tags(registry, "a/b", TAGS)
    assert await registry.tags("a/b") == TAGS
    assert await registry.tags("a/b", "?n=3") == TAGS[:3]
    assert await registry.tags("a/b", "?n=100") == TAGS
    for number, tag in enumerate(TAGS):
        assert await registry.tags("a/b", f"?last={tag}") == TAGS[number + 1 :]
        assert await registry.tags("a/b", f"?n=2&last={tag}") == TAGS[number + 1 : number + 3]
    # ``last`` need not exist.
    assert await registry.tags("a/b", "?last=a.a") == TAGS[TAGS.index("a.b") :]
    assert await registry.tags("a/b", "?last=zzz") == []
    assert await registry.tags("a/b", "?last=" + quote("a b/ü")) == TAGS[4:]
    for n in range(1, len(TAGS) + 2):
        pages = await _pages(registry, f"/v2/a/b/tags/list?n={n}", "tags")
        assert [tag for page in pages for tag in page] == TAGS
        assert len(pages) == -(-len(TAGS) // n)


async def test_no_tags_are_an_empty_list_without_a_link(registry: RegistryClient) -> None:
    digest = await _push_tags(registry, "a", ["v1"])
    answer = await registry.ask("GET", "/v2/a/tags/list?n=0", status=200)
    assert (answer.json["tags"], answer.headers.get("Link")) == ([], None)
    await registry.ask("DELETE", "/v2/a/manifests/v1", status=202)
    assert await registry.tags("a") == []
    await registry.ask("HEAD", f"/v2/a/manifests/{digest}", status=200)
    answer = await registry.ask("GET", "/v2/b/tags/list", status=404)
    assert answer.code == "NAME_UNKNOWN"


async def test_what_a_killed_push_or_delete_leaves_is_no_tag(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    digest = await _push_tags(registry, "a", ["v1"])
    path = "/docker/registry/v2/repositories/a/_manifests/tags/v2/index/sha256"
    await storage.put_content(f"{path}/{digest[7:]}/link", digest.encode())
    assert await registry.tags("a") == ["v1"]


async def test_repositories_are_listed_in_pages(open_registry: OpenRegistry) -> None:
    registry = await open_registry(RegistrySettings(max_page_entries=3))
    assert await _pages(registry, "/v2/_catalog", "repositories") == [[]]
    names = ["a", "a-b", "a/b", "a/b/c", "b/c", "c"]
    for name in reversed(names):
        await registry.push_image(name, "v1", b"layer")
    await registry.start("only-begun")
    assert await _pages(registry, "/v2/_catalog", "repositories") == [names[:3], names[3:]]
    assert await _pages(registry, "/v2/_catalog?n=100", "repositories") == [names[:3], names[3:]]
    assert await _pages(registry, "/v2/_catalog?n=2&last=a-b", "repositories") == [
        names[2:4],
        names[4:],
    ]
    answer = await registry.ask("GET", "/v2/_catalog?n=0", status=200)
    assert (answer.json["repositories"], answer.headers.get("Link")) == ([], None)


def _artifact(subject: dict[str, Any], image: dict[str, Any], **more: object) -> dict[str, Any]:
    return image | {"subject": subject} | more


async def test_referrers_are_listed_with_what_they_are(registry: RegistryClient) -> None:
    assert await registry.referrers("a", sha256(b"nobody knows")) == []
    subject = descriptor(b"pushed later", IMAGE)
    image = await registry.image("a", b"layer")
    artifacts = [
        (_artifact(subject, image), "application/vnd.oci.image.config.v1+json"),
        (_artifact(subject, image, artifactType="application/x"), "application/x"),
        (
            {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": subject},
            None,
        ),
        (
            {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [],
                "subject": subject,
                "artifactType": "application/x",
                "annotations": {"a": "ä"},
            },
            "application/x",
        ),
    ]
    expected = []
    for manifest, artifact_type in artifacts:
        body = json.dumps(manifest).encode()
        answer = await registry.push_manifest("a", sha256(body), manifest)
        assert answer.headers["OCI-Subject"] == subject["digest"]
        item: dict[str, Any] = descriptor(body, manifest["mediaType"])
        if artifact_type:
            item["artifactType"] = artifact_type
        if "annotations" in manifest:
            item["annotations"] = manifest["annotations"]
        expected.append(item)
    expected.sort(key=lambda item: str(item["digest"]))
    assert await registry.referrers("a", subject["digest"]) == expected
    assert await registry.referrers("b", subject["digest"]) == []
    # Pushed again, it is there once; deleted, it is not.
    await registry.push_manifest("a", "again", artifacts[0][0])
    assert await registry.referrers("a", subject["digest"]) == expected
    for kind in ("application/x", "application/none"):
        path = f"/v2/a/referrers/{subject['digest']}?artifactType={quote(kind, safe='')}"
        filtered = await registry.ask("GET", path, status=200)
        assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
        assert filtered.json["manifests"] == [
            item for item in expected if item.get("artifactType") == kind
        ]
    await registry.ask("DELETE", f"/v2/a/manifests/{expected[0]['digest']}", status=202)
    assert await registry.referrers("a", subject["digest"]) == expected[1:]


async def test_referrers_that_are_pushed_at_once_are_all_listed(registry: RegistryClient) -> None:
    digest = sha512(b"subject")
    subject = descriptor(b"subject", IMAGE, digest=digest)
    image = await registry.image("a", b"layer")
    artifacts = [_artifact(subject, image, annotations={"n": str(n)}) for n in range(12)]
    await asyncio.gather(
        *(
            registry.push_manifest("a", sha256(json.dumps(artifact).encode()), artifact)
            for artifact in artifacts
        )
    )
    listed = await registry.referrers("a", digest)
    assert {item["annotations"]["n"] for item in listed} == {str(n) for n in range(12)}


async def test_referrers_are_listed_in_pages(
    open_registry: OpenRegistry, storage: StorageDriver
) -> None:
    registry = await open_registry(RegistrySettings(max_page_bytes=2000))
    subject = descriptor(b"subject", IMAGE)
    image = await registry.image("a", b"layer")
    expected: dict[str, dict[str, Any]] = {}
    for number in range(20):
        artifact = _artifact(
            subject,
            image,
            artifactType=f"application/x+{number % 2}",
            # One has more than a page.
            annotations={"n": str(number), "x": "x" * (2000 if number == 7 else 300)},
        )
        body = json.dumps(artifact).encode()
        item = descriptor(body, IMAGE) | {"artifactType": artifact["artifactType"]}
        if number != 7:
            item["annotations"] = artifact["annotations"]
        expected[item["digest"]] = item
        await registry.push_manifest("a", item["digest"], artifact)
    listed = [expected[digest] for digest in sorted(expected)]
    tag = subject["digest"].replace(":", "-")
    fallback = await registry.ask("GET", f"/v2/a/manifests/{tag}", status=200)
    assert fallback.json["manifests"] == listed[: len(fallback.json["manifests"])]
    # Some are listed by clients alone, below the fallback tag, and some twice.
    named = [
        {key: item[key] for key in ("mediaType", "digest", "size")} for item in reversed(listed)
    ]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": named[::2] + named[::4]}
    await registry.push_manifest("a", tag, index)
    links = f"/docker/registry/v2/repositories/a/_manifests/referrers/sha256/{tag[7:]}/sha256"
    for item in named[::3]:
        with suppress(PathNotFoundError):
            await storage.delete(f"{links}/{item['digest'][7:]}")
    gone = {item["digest"] for item in named[::3]} - {item["digest"] for item in named[::2]}
    listed = [item for item in listed if item["digest"] not in gone]
    answers = [fallback]
    for kind in (None, "application/x+0", "application/x+1", "application/none"):
        path = f"/v2/a/referrers/{subject['digest']}"
        if kind is not None:
            path += "?artifactType=" + quote(kind, safe="")
        pages = await _answers(registry, path)
        assert len(pages) > 2 or kind == "application/none"
        found = [item for page in pages for item in page.json["manifests"]]
        assert found == [item for item in listed if kind in (None, item["artifactType"])]
        for page in pages:
            applied = page.headers.get("OCI-Filters-Applied")
            assert applied == (None if kind is None else "artifactType")
        answers += pages
    assert all(len(answer.body) <= 2000 for answer in answers)
    path = f"/v2/a/referrers/{subject['digest']}?last=x"
    assert (await registry.ask("GET", path, status=400)).code == "DIGEST_INVALID"


async def test_what_clients_listed_below_the_fallback_tag_is_listed(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    # As through the Go registry: there is no list of referrers, and the client keeps one itself.
    subject = descriptor(b"subject", IMAGE)
    image = await registry.image("a", b"layer")
    artifact = _artifact(subject, image, artifactType="application/x")
    other = image | {"annotations": {"a": "about nothing"}}
    for manifest in (artifact, other):
        await registry.push_manifest("a", sha256(json.dumps(manifest).encode()), manifest)
    await storage.delete("/docker/registry/v2/repositories/a/_manifests/referrers")
    assert await registry.referrers("a", subject["digest"]) == []
    listed = [descriptor(json.dumps(item).encode(), IMAGE) for item in (artifact, other)]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
    tag = subject["digest"].replace(":", "-")
    await registry.push_manifest("a", tag, index)
    (found,) = await registry.referrers("a", subject["digest"])
    assert found == listed[0] | {"artifactType": "application/x"}


async def test_old_clients_find_referrers_by_the_fallback_tag(registry: RegistryClient) -> None:
    subject = descriptor(b"subject", IMAGE)
    path = f"/v2/a/manifests/{subject['digest'].replace(':', '-')}"
    await registry.ask("GET", path, status=404)
    artifact = _artifact(subject, await registry.image("a", b"layer"))
    await registry.push_manifest("a", "sig", artifact)
    answer = await registry.ask("GET", path, status=200)
    assert answer.headers["Content-Type"] == INDEX
    assert answer.headers["Docker-Content-Digest"] == sha256(answer.body)
    assert answer.json["manifests"] == await registry.referrers("a", subject["digest"])
    assert await registry.tags("a") == ["sig"]


async def test_the_fallback_tag_of_a_long_digest_is_cut(registry: RegistryClient) -> None:
    image = await registry.image("a", b"layer")
    subjects = [descriptor(b"%d" % n, IMAGE, digest=sha512(b"%d" % n)) for n in range(3)]
    artifacts = [_artifact(subject, image) for subject in subjects]
    for number, artifact in enumerate(artifacts):
        await registry.push_manifest("a", f"sig{number}", artifact)
    for subject, artifact in zip(subjects, artifacts, strict=True):
        tag = subject["digest"].replace(":", "-")[: len("sha512-") + 64]
        answer = await registry.ask("GET", f"/v2/a/manifests/{tag}", status=200)
        (found,) = answer.json["manifests"]
        assert found["digest"] == sha256(json.dumps(artifact).encode())
        # With less, or with more, which would be no tag, nobody looks there.
        for other in (tag[:-1], subject["digest"].replace(":", "-"), "md5-" + tag[7:]):
            await registry.ask("GET", f"/v2/a/manifests/{other}", status=404)
    for value in ("0" * 64, "f" * 64):
        await registry.ask("GET", f"/v2/a/manifests/sha512-{value}", status=404)


@pytest.mark.parametrize("digest_of", [sha256, sha512])
async def test_a_fallback_tag_that_a_client_put_is_what_it_put(
    registry: RegistryClient, digest_of: type
) -> None:
    digest: Any = digest_of(b"subject")
    subject = descriptor(b"subject", IMAGE, digest=digest)
    image = await registry.image("a", b"layer")
    first, second = (_artifact(subject, image, annotations={"n": n}) for n in "12")
    await registry.push_manifest("a", "first", first)
    tag = digest.replace(":", "-")[: len("sha256-") + 64]
    listed = await registry.ask("GET", f"/v2/a/manifests/{tag}", status=200)
    await registry.push_manifest("a", tag, listed.json)
    await registry.push_manifest("a", "second", second)
    answer = await registry.ask("GET", f"/v2/a/manifests/{tag}", status=200)
    assert answer.json == listed.json
    digest_of_tag = answer.headers["Docker-Content-Digest"]
    by_digest = await registry.ask("GET", f"/v2/a/manifests/{digest_of_tag}", status=200)
    assert by_digest.body == answer.body
    found = await registry.referrers("a", digest)
    assert {item["annotations"]["n"] for item in found} == {"1", "2"}


@pytest.mark.parametrize("digest", ["sha256:x", "x", "md5:" + "0" * 32])
async def test_referrers_of_what_is_no_digest_are_400(
    registry: RegistryClient, digest: str
) -> None:
    answer = await registry.ask("GET", f"/v2/a/referrers/{digest}", status=400)
    assert answer.code == "DIGEST_INVALID"
