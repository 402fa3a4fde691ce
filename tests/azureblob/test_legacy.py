"""Which append blobs are taken for contents of an old driver."""

from __future__ import annotations

import pytest

from azdriver.azureblob.legacy import MAX_CONTENT_BYTES, is_legacy_content

REGISTRY = "/docker/registry/v2"
HEX = "ab" + "0" * 62
UPLOADS = f"{REGISTRY}/repositories/a/_uploads/1"


@pytest.mark.parametrize(
    ("path", "is_content"),
    [
        ("/settings", True),
        (f"{REGISTRY}/repositories/a/_manifests/tags/1/current/link", True),
        (f"{REGISTRY}/repositories/a/_layers/sha256/{HEX}/link", True),
        (f"{UPLOADS}/startedat", True),
        (f"{UPLOADS}/hashstates/sha256/0", True),
        (f"{UPLOADS}/data", False),
        # By digest, also below a root directory.
        (f"{REGISTRY}/blobs/sha256/ab/{HEX}/data", False),
        (f"/root{REGISTRY}/blobs/sha512/ab/{HEX * 2}/data", False),
        # Not quite.
        (f"{REGISTRY}/blobs/sha256/ab/{HEX}/data2", True),
        (f"{REGISTRY}/blobs/sha256/ab/{HEX}/condemned", True),
        (f"{REGISTRY}/blobs/sha256/cd/{HEX}/data", True),
        (f"{REGISTRY}/blobs/sha256/ab/{HEX.upper()}/data", True),
        (f"{REGISTRY}/repositories/blobs/sha256/ab/{HEX}/data", True),
        (f"/blobs/sha256/ab/{HEX}/data", True),
    ],
)
def test_the_path_tells(path: str, is_content: bool) -> None:
    assert is_legacy_content(path, "AppendBlob", 1, {}) is is_content
    assert not is_legacy_content(path, "BlockBlob", 1, {})
    assert not is_legacy_content(path, "AppendBlob", 1, {"azdriver_write_id": "0"})
    assert not is_legacy_content(path, "AppendBlob", MAX_CONTENT_BYTES + 1, {})
