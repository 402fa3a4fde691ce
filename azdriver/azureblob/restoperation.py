"""Which REST operation a request is: for counters, logs and tests."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["operation_of"]

# By method and the query or header that tells it from the others.
# https://learn.microsoft.com/rest/api/storageservices/operations-on-blobs
_BY_COMP: Final = {
    ("PUT", "appendblock"): "Append Block",
    ("PUT", "block"): "Put Block",
    ("PUT", "blocklist"): "Put Block List",
    ("GET", "blocklist"): "Get Block List",
    ("PUT", "copy"): "Abort Copy Blob",
    ("POST", "batch"): "Blob Batch",
    ("POST", "userdelegationkey"): "Get User Delegation Key",
    ("GET", "list"): "List Blobs",
    ("GET", "tags"): "Get Blob Tags",
    ("PUT", "metadata"): "Set Blob Metadata",
    ("PUT", "tags"): "Set Blob Tags",
}
_PROPERTIES_OF: Final = {
    "account": "Get Account Information",
    "service": "Get Blob Service Properties",
}
_ON_BLOB: Final = {"GET": "Get Blob", "HEAD": "Get Blob Properties", "DELETE": "Delete Blob"}
_ON_CONTAINER: Final = {"PUT": "Create Container", "DELETE": "Delete Container"}


def operation_of(request: Any) -> str:
    """The name of the REST operation that a request is, such as ``"Put Blob"``.

    It is called for every request, so that the query is searched and not parsed.
    """
    method: str = request.method
    query: str = request.url.partition("?")[2]
    comp = _parameter(query, "comp")
    if comp and (method, comp) in _BY_COMP:
        return _BY_COMP[method, comp]
    restype = _parameter(query, "restype")
    if comp == "properties" and method == "GET" and restype in _PROPERTIES_OF:
        return _PROPERTIES_OF[restype]
    if restype == "container":
        return _ON_CONTAINER.get(method, "Get Container Properties")
    if method == "PUT":
        if "x-ms-copy-source" in request.headers:
            return "Copy Blob"
        is_append = request.headers.get("x-ms-blob-type") == "AppendBlob"
        return "Create Append Blob" if is_append else "Put Blob"
    return _ON_BLOB.get(method) or f"{method} {comp}".strip()


def _parameter(query: str, name: str) -> str:
    # Within a value both the equals sign and the ampersand are encoded.
    _, found, after = f"&{query}".partition(f"&{name}=")
    return after.partition("&")[0] if found else ""
