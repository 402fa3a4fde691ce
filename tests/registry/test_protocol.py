"""What holds for all requests: names, digests, errors."""

from __future__ import annotations

import pytest

from oci_registry.errors import RegistryError
from oci_registry.names import parse_digest, parse_reference, parse_repository, parse_tag
from registry_client import RegistryClient, sha256, sha512

D = sha256(b"x")


async def test_the_version_check_is_answered(registry: RegistryClient) -> None:
    for path in ("/v2/", "/v2"):
        answer = await registry.ask("GET", path, status=200)
        assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


async def test_what_can_be_got_has_a_head(registry: RegistryClient) -> None:
    await registry.push_image("a", "v1", b"layer")
    for path in ("/v2/", "/v2", "/v2/_catalog?n=1", "/v2/a/tags/list", f"/v2/a/referrers/{D}"):
        get = await registry.ask("GET", path, status=200)
        head = await registry.ask("HEAD", path, status=200)
        assert head.body == b""
        for header in ("Content-Length", "Content-Type"):
            assert head.headers[header] == get.headers[header]
    await registry.ask("HEAD", "/v2/b/tags/list", status=404)


@pytest.mark.parametrize(
    "name", ["a", "a/b", "a0.b_c__d-e--f/0", "blobs/uploads/manifests", "a" * 255, "a/tags/list"]
)
def test_names_of_the_grammar_are_taken(name: str) -> None:
    assert parse_repository(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "A", "a/", "/a", "a//b", "..", "a/../b", ".a", "a.", "a..b", "a___b", "_a", "a_/b"),
        *("a b", "a\n", "ä", "a/_layers", "a" * 256, "a\0"),
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(RegistryError, match="NAME_INVALID"):
        parse_repository(name)


@pytest.mark.parametrize("tag", ["a", "_a", "A.b-C_9", "0" * 128])
def test_tags_of_the_grammar_are_taken(tag: str) -> None:
    assert parse_reference(tag) == tag


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "0" * 129, "..", "a\n", "é"])
def test_other_tags_are_refused(tag: str) -> None:
    with pytest.raises(RegistryError, match="TAG_INVALID"):
        parse_tag(tag)


@pytest.mark.parametrize("digest", [sha256(b""), sha512(b"")])
def test_digests_of_both_algorithms_are_taken(digest: str) -> None:
    assert str(parse_digest(digest)) == digest


@pytest.mark.parametrize(
    "digest",
    [
        *("", "sha256", "sha256:", "sha256:ab", D.upper(), D + "0", D + "\n", "md5:" + "0" * 32),
        *("sha512:" + "0" * 64, "sha256:" + "g" * 64, "sha256:" + "٣" * 64, "../x:" + "0" * 64),
    ],
)
def test_other_digests_are_refused(digest: str) -> None:
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        parse_digest(digest)


MALFORMED = [
    ("GET", "/v2/A/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a/../b/tags/list", 404, "NAME_UNKNOWN"),  # the client's library folds it
    ("GET", "/v2/a/%2e%2e/b/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a%2F..%2Fb/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a%00/tags/list", 400, "NAME_INVALID"),
    ("GET", f"/v2/{'a' * 256}/tags/list", 400, "NAME_INVALID"),
    ("GET", "/v2/a/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/a/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/_catalog?n=1_0", 400, "PAGINATION_NUMBER_INVALID"),
    ("HEAD", "/v2/A/blobs/" + D, 400, None),
    ("GET", "/v2/a/blobs/sha256:x", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/blobs/..%2F..", 400, "DIGEST_INVALID"),
    ("DELETE", "/v2/a/blobs/x", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/manifests/sha256:x", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/manifests/.x", 404, "MANIFEST_UNKNOWN"),
    ("PUT", "/v2/a/manifests/.x", 400, "TAG_INVALID"),
    ("PUT", "/v2/a/manifests/x", 400, "MANIFEST_INVALID"),
    ("PUT", f"/v2/a/manifests/{D}?tag=.x", 400, "TAG_INVALID"),
    ("PUT", "/v2/a/manifests/sha256:x", 400, "DIGEST_INVALID"),
    ("DELETE", "/v2/a/manifests/sha256:x", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/referrers/x", 400, "DIGEST_INVALID"),
    ("POST", "/v2/a/blobs/uploads/?digest=x", 400, "DIGEST_INVALID"),
    ("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", 400, "DIGEST_INVALID"),
    ("POST", "/v2/a/blobs/uploads/?mount=x&from=b", 400, "DIGEST_INVALID"),
    ("POST", f"/v2/a/blobs/uploads/?mount={D}&from=B", 400, "NAME_INVALID"),
    ("PATCH", "/v2/a/blobs/uploads/x", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PUT", f"/v2/a/blobs/uploads/..%2Fx?digest={D}", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PUT", "/v2/a/blobs/uploads/x", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/blobs/uploads/" + "0" * 36, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("GET", "/", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/a/nothing/x", 404, "NAME_UNKNOWN"),
    ("POST", "/v2/a/tags/list", 405, "UNSUPPORTED"),
    ("PUT", "/v2/a/blobs/" + D, 405, "UNSUPPORTED"),
]


async def test_a_number_may_be_large(registry: RegistryClient) -> None:
    digest = await registry.push_blob("a", b"0123456789")
    await registry.push_image("a", "v1", b"layer")
    for large in ("9" * 18, "9" * 20, "9" * 5000, "0" * 30 + "7"):
        for asked, status, expected in (
            (f"bytes=3-{large}", 206, b"3456789"[: 5 if large[0] == "0" else 7]),
            (f"bytes=-{large}", 206, b"0123456789"[3 if large[0] == "0" else 0 :]),
            (f"bytes={large}-", 206 if large[0] == "0" else 416, b"789"),
        ):
            answer = await registry.ask(
                "GET", f"/v2/a/blobs/{digest}", headers={"Range": asked}, status=status
            )
            assert status != 206 or answer.body == expected
        assert await registry.tags("a", f"?n={large}") == ["v1"]
        answer = await registry.ask("GET", f"/v2/_catalog?n={large}", status=200)
        assert answer.json["repositories"] == ["a"]


async def test_what_is_malformed_is_the_clients_error(registry: RegistryClient) -> None:
    for method, path, status, code in MALFORMED:
        answer = await registry.ask(method, path)
        assert (answer.status, path) == (status, path)
        if code is None:
            assert answer.body == b""
        else:
            assert (answer.code, path) == (code, path)


async def test_repositories_may_be_called_as_parts_of_paths(registry: RegistryClient) -> None:
    for name in ("blobs", "a/blobs/uploads", "manifests/tags/list", "referrers"):
        digest = await registry.push_image(name, "list", b"layer of " + name.encode())
        assert (await registry.ask("GET", f"/v2/{name}/manifests/{digest}")).status == 200
        assert await registry.tags(name) == ["list"]


async def test_a_name_that_is_too_long_for_the_storage_is_the_clients_error(
    registry: RegistryClient,
) -> None:
    path = f"/v2/{'a/' * 120}a/blobs/uploads/"
    assert (await registry.ask("POST", path)).status in (202, 400)
