"""The REST subset of the stand-in: what each request does and answers. No credential is checked."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from benchmarks.standin.store import APPEND, BLOCK, Blob, Container, Pieces, now_text

__all__ = ["Answer", "Request", "Service"]

ACCOUNT: Final = "devstoreaccount1"
_ACCOUNT_PATH: Final = f"/{ACCOUNT}/"
CONTROL: Final = "/_standin/"

_BLOCK_LIST: Final = re.compile(rb"<(Latest|Committed|Uncommitted)>([^<]*)</")
_PART: Final = re.compile(rb"DELETE (\S+) HTTP/1\.1\r\n")
_CONTENT_ID: Final = re.compile(rb"content-id: *(\S+)", re.IGNORECASE)
_IF_MATCH: Final = re.compile(rb"if-match: *(\S+)", re.IGNORECASE)
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
_REASONS: Final = {200: "OK", 201: "Created", 202: "Accepted", 206: "Partial Content"}
_VERSION: Final = "x-ms-request-id: 1\r\nx-ms-version: 2025-01-05\r\nServer: standin\r\n"


class Request(NamedTuple):
    """One request whose body has arrived; ``body`` is None where it was thrown away."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: memoryview | None
    length: int


class Answer(NamedTuple):
    """The head, and a body either given or read from a blob as it is sent."""

    head: bytes
    body: bytes = b""
    blob: Blob | None = None
    first: int = 0
    length: int = 0


class _Refusal(Exception):
    def __init__(self, status: int, code: str, headers: str = "") -> None:
        super().__init__(status, code)
        self.status, self.code, self.headers = status, code, headers


def _answer(status: int, headers: str = "", body: bytes = b"") -> Answer:
    reason = _REASONS.get(status, "No")
    return Answer(
        f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\n{headers}"
        f"Date: {now_text()}\r\n{_VERSION}\r\n".encode("latin-1"),
        body,
    )


def _version_headers(blob: Blob) -> str:
    return (
        f"ETag: {blob.etag}\r\nLast-Modified: {blob.modified}\r\n"
        "x-ms-request-server-encrypted: true\r\n"
    )


class Service:
    """The account: its containers, the network's shape, and the counters."""

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.delay_seconds = 0.0
        self.bytes_per_second = 0.0
        self.discard_above: int | None = None
        self.counters: Counter[str] = Counter()
        self.received_bytes = 0
        self.sent_bytes = 0
        self._cpu_at_reset = time.process_time()

    # Dispatch.

    def answer(self, request: Request) -> Answer:
        """What the request does; every failure is an answer."""
        try:
            return self._dispatch(request)
        except _Refusal as refusal:
            body = (
                '<?xml version="1.0" encoding="utf-8"?>'
                f"<Error><Code>{refusal.code}</Code><Message>{refusal.code}</Message></Error>"
            ).encode()
            headers = (
                f"x-ms-error-code: {refusal.code}\r\nContent-Type: application/xml\r\n"
                f"{refusal.headers}"
            )
            answer = _answer(refusal.status, headers, body)
            return answer._replace(body=b"") if request.method == "HEAD" else answer

    def _dispatch(self, request: Request) -> Answer:
        path, query, method = request.path, request.query, request.method
        if path.startswith(CONTROL):
            return self._control(path[len(CONTROL) :], query)
        if path.startswith(_ACCOUNT_PATH):
            path = path[len(_ACCOUNT_PATH) - 1 :]
        container_name, _, name = path[1:].partition("/")
        if "%" in name:
            name = unquote(name)
        fields: dict[str, str] = {}
        if "comp=" in query or "restype=" in query:
            fields = {key: values[0] for key, values in parse_qs(query).items()}
        comp = fields.get("comp", "")
        if comp == "batch":
            self.counters["Blob Batch"] += 1
            return self._batch(request)
        if fields.get("restype") == "container" or not name:
            return self._container_request(request, container_name, comp, fields)
        container = self.containers.get(container_name)
        if container is None:
            self.counters["to no container"] += 1
            raise _Refusal(404, "ContainerNotFound")
        if method == "GET" and not comp:
            self.counters["Get Blob"] += 1
            return self._get(container, name, request)
        if method == "HEAD":
            self.counters["Get Blob Properties"] += 1
            return self._head(container, name)
        if method == "PUT":
            return self._put_request(container, name, comp, fields, request)
        if method == "DELETE":
            self.counters["Delete Blob"] += 1
            blob = self._existing(container, name)
            self._check(blob, request.headers)
            container.delete(name)
            return _answer(202, "x-ms-delete-type-permanent: true\r\n")
        if method == "GET" and comp == "blocklist":
            self.counters["Get Block List"] += 1
            return self._block_list(container, name)
        raise self._unknown(request)

    def _put_request(
        self,
        container: Container,
        name: str,
        comp: str,
        fields: dict[str, str],
        request: Request,
    ) -> Answer:
        if comp == "block":
            self.counters["Put Block"] += 1
            return self._stage(container, name, fields["blockid"], request)
        if comp == "appendblock":
            self.counters["Append Block"] += 1
            return self._append(container, name, request)
        if comp == "blocklist":
            self.counters["Put Block List"] += 1
            return self._commit(container, name, request)
        if comp:
            raise self._unknown(request)
        if "x-ms-copy-source" in request.headers:
            self.counters["Copy Blob"] += 1
            return self._copy(container, name, request)
        kind = request.headers.get("x-ms-blob-type", BLOCK)
        self.counters["Put Blob" if kind == BLOCK else "Create Append Blob"] += 1
        old = container.blobs.get(name)
        self._check(old, request.headers)
        if old is not None and old.kind != kind:
            raise _Refusal(409, "InvalidBlobType")
        pieces = self._pieces(request)
        return self._created(container, name, Blob(kind, pieces, request.length), request)

    def _unknown(self, request: Request) -> _Refusal:
        self.counters[f"unknown: {request.method} {request.query[:80]}"] += 1
        return _Refusal(501, "NotImplemented")

    # Conditions.

    @staticmethod
    def _existing(container: Container, name: str) -> Blob:
        blob = container.blobs.get(name)
        if blob is None:
            raise _Refusal(404, "BlobNotFound")
        return blob

    @staticmethod
    def _check(blob: Blob | None, headers: dict[str, str]) -> None:
        wanted = headers.get("if-match")
        is_conditional = wanted is not None and wanted != "*"
        if is_conditional and (blob is None or blob.etag.strip('"') != str(wanted).strip('"')):
            raise _Refusal(412, "ConditionNotMet")
        if headers.get("if-none-match") == "*" and blob is not None:
            raise _Refusal(409, "BlobAlreadyExists")

    @staticmethod
    def _pieces(request: Request) -> Pieces | None:
        if request.body is None:
            return None
        return [request.body] if request.length else []

    @staticmethod
    def _created(container: Container, name: str, blob: Blob, request: Request) -> Answer:
        headers = request.headers
        blob.metadata = {k[10:]: v for k, v in headers.items() if k.startswith("x-ms-meta-")}
        blob.content_type = headers.get("x-ms-blob-content-type", blob.content_type)
        container.put(name, blob)
        return _answer(201, _version_headers(blob))

    # Blobs.

    def _head(self, container: Container, name: str) -> Answer:
        blob = self._existing(container, name)
        return Answer(self._blob_head(200, blob, blob.size, ""))

    @staticmethod
    def _blob_head(status: int, blob: Blob, length: int, more: str) -> bytes:
        metadata = "".join(f"x-ms-meta-{k}: {v}\r\n" for k, v in blob.metadata.items())
        if blob.kind == APPEND:
            more += f"x-ms-blob-committed-block-count: {blob.block_count}\r\n"
        return (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {length}\r\n"
            f"Content-Type: {blob.content_type}\r\n{_version_headers(blob)}"
            f"x-ms-creation-time: {blob.created}\r\nx-ms-blob-type: {blob.kind}\r\n"
            "x-ms-lease-status: unlocked\r\nx-ms-lease-state: available\r\n"
            "x-ms-server-encrypted: true\r\nAccept-Ranges: bytes\r\n"
            f"{more}{metadata}Date: {now_text()}\r\n{_VERSION}\r\n"
        ).encode("latin-1")

    def _get(self, container: Container, name: str, request: Request) -> Answer:
        blob = self._existing(container, name)
        headers = request.headers
        self._check(blob, headers)
        asked = headers.get("x-ms-range") or headers.get("range")
        if not asked:
            return Answer(self._blob_head(200, blob, blob.size, ""), b"", blob, 0, blob.size)
        match = _RANGE.fullmatch(asked)
        if match is None:
            raise _Refusal(400, "InvalidHeaderValue")
        first = int(match[1])
        if first >= blob.size:
            raise _Refusal(416, "InvalidRange", f"Content-Range: bytes */{blob.size}\r\n")
        last = min(int(match[2]) if match[2] else blob.size, blob.size - 1)
        length = last - first + 1
        more = f"Content-Range: bytes {first}-{last}/{blob.size}\r\n"
        return Answer(self._blob_head(206, blob, length, more), b"", blob, first, length)

    def _append(self, container: Container, name: str, request: Request) -> Answer:
        blob = self._existing(container, name)
        if blob.kind != APPEND:
            raise _Refusal(409, "InvalidBlobType")
        self._check(blob, request.headers)
        position = request.headers.get("x-ms-blob-condition-appendpos")
        if position is not None and int(position) != blob.size:
            raise _Refusal(412, "AppendPositionConditionNotMet")
        offset = blob.size
        blob.append(request.body, request.length)
        container.changed()
        return _answer(
            201,
            f"{_version_headers(blob)}x-ms-blob-append-offset: {offset}\r\n"
            f"x-ms-blob-committed-block-count: {blob.block_count}\r\n",
        )

    def _stage(self, container: Container, name: str, block_id: str, request: Request) -> Answer:
        old = container.blobs.get(name)
        if old is not None and old.kind != BLOCK:
            raise _Refusal(409, "InvalidBlobType")
        container.staged.setdefault(name, {})[block_id] = (request.body, request.length)
        return _answer(201, "x-ms-request-server-encrypted: true\r\n")

    def _commit(self, container: Container, name: str, request: Request) -> Answer:
        old = container.blobs.get(name)
        self._check(old, request.headers)
        if old is not None and old.kind != BLOCK:
            raise _Refusal(409, "InvalidBlobType")
        staged = container.staged.get(name, {})
        committed = container.committed.get(name, {})
        blocks: dict[str, tuple[memoryview | None, int]] = {}
        pieces: Pieces | None = []
        size = 0
        body = b"" if request.body is None else bytes(request.body)
        for kind, raw_id in _BLOCK_LIST.findall(body):
            block_id = raw_id.decode()
            block = None
            if kind != b"Committed":
                block = staged.get(block_id)
            if block is None and kind != b"Uncommitted":
                block = committed.get(block_id)
            if block is None:
                raise _Refusal(400, "InvalidBlockList")
            blocks[block_id] = block
            size += block[1]
            if block[0] is None:
                pieces = None
            elif pieces is not None:
                pieces.append(block[0])
        container.staged.pop(name, None)
        container.committed[name] = blocks
        return self._created(container, name, Blob(BLOCK, pieces, size), request)

    def _block_list(self, container: Container, name: str) -> Answer:
        staged = container.staged.get(name, {})
        blob = container.blobs.get(name)
        if blob is None and not staged:
            raise _Refusal(404, "BlobNotFound")
        if blob is not None and blob.kind != BLOCK:
            raise _Refusal(409, "InvalidBlobType")
        lists = "".join(
            f"<{tag}>"
            + "".join(
                f"<Block><Name>{escape(block_id)}</Name><Size>{size}</Size></Block>"
                for block_id, (_, size) in blocks.items()
            )
            + f"</{tag}>"
            for tag, blocks in (
                ("CommittedBlocks", container.committed.get(name, {})),
                ("UncommittedBlocks", staged),
            )
        )
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{lists}</BlockList>'.encode()
        headers = "Content-Type: application/xml\r\n"
        if blob is not None:
            headers += f"{_version_headers(blob)}x-ms-blob-content-length: {blob.size}\r\n"
        return _answer(200, headers, body)

    def _copy(self, container: Container, name: str, request: Request) -> Answer:
        path = urlsplit(request.headers["x-ms-copy-source"]).path
        if path.startswith(_ACCOUNT_PATH):
            path = path[len(_ACCOUNT_PATH) - 1 :]
        source_container, _, source_name = path[1:].partition("/")
        there = self.containers.get(source_container)
        source = None if there is None else there.blobs.get(unquote(source_name))
        if source is None:
            raise _Refusal(404, "CannotVerifyCopySource")
        wanted = request.headers.get("x-ms-source-if-match")
        if wanted is not None and wanted.strip('"') != source.etag.strip('"'):
            raise _Refusal(412, "SourceConditionNotMet")
        old = container.blobs.get(name)
        self._check(old, request.headers)
        if old is not None and old.kind != source.kind:
            raise _Refusal(409, "InvalidBlobType")
        pieces = None if source.pieces is None else list(source.pieces)
        copy = Blob(source.kind, pieces, source.size, dict(source.metadata), source.content_type)
        copy.block_count = source.block_count
        container.put(name, copy)
        return _answer(
            202,
            f"{_version_headers(copy)}x-ms-copy-id: 00000000-0000-0000-0000-000000000001\r\n"
            "x-ms-copy-status: success\r\n",
        )

    def _batch(self, request: Request) -> Answer:
        body = b"" if request.body is None else bytes(request.body)
        starts = list(_PART.finditer(body))
        if not 0 < len(starts) <= 256:
            raise _Refusal(400, "InvalidInput")
        out: list[str] = []
        boundary = "batchresponse_00000000-0000-0000-0000-000000000001"
        before = 0
        for number, match in enumerate(starts):
            end = starts[number + 1].start() if number + 1 < len(starts) else len(body)
            # The id stands above the request line, or (some clients) the order has to do.
            found = _CONTENT_ID.search(body, before, match.start())
            content_id = str(number) if found is None else found[1].decode("latin-1")
            status, code = self._delete_part(match[1].decode("latin-1"), body, match.end(), end)
            before = match.end()
            line = "202 Accepted" if status == 202 else f"{status} No"
            out.append(
                f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: {content_id}\r\n"
                f"\r\nHTTP/1.1 {line}\r\n{code}{_VERSION}\r\n"
            )
        self.counters["deletions in batches"] += len(starts)
        text = "".join(out) + f"--{boundary}--\r\n"
        return _answer(
            202, f"Content-Type: multipart/mixed; boundary={boundary}\r\n", text.encode("latin-1")
        )

    def _delete_part(self, target: str, body: bytes, start: int, end: int) -> tuple[int, str]:
        path = target.partition("?")[0]
        if path.startswith(_ACCOUNT_PATH):
            path = path[len(_ACCOUNT_PATH) - 1 :]
        container_name, _, name = path.lstrip("/").partition("/")
        name = unquote(name)
        container = self.containers.get(container_name)
        blob = None if container is None else container.blobs.get(name)
        if container is None or blob is None:
            return 404, "x-ms-error-code: BlobNotFound\r\n"
        wanted = _IF_MATCH.search(body, start, end)
        if wanted is not None and wanted[1].decode("latin-1").strip('"') != blob.etag.strip('"'):
            return 412, "x-ms-error-code: ConditionNotMet\r\n"
        container.delete(name)
        return 202, "x-ms-delete-type-permanent: true\r\n"

    # Containers.

    def _container_request(
        self, request: Request, name: str, comp: str, fields: dict[str, str]
    ) -> Answer:
        if not name:
            self.counters["List Containers"] += 1
            return self._list_containers()
        if request.method == "PUT" and not comp:
            self.counters["Create Container"] += 1
            if name in self.containers:
                raise _Refusal(409, "ContainerAlreadyExists")
            self.containers[name] = Container(name)
            return _answer(201, self._container_headers())
        container = self.containers.get(name)
        if container is None:
            raise _Refusal(404, "ContainerNotFound")
        if request.method == "DELETE" and not comp:
            self.counters["Delete Container"] += 1
            del self.containers[name]
            return _answer(202)
        if request.method == "GET" and comp == "list":
            self.counters["List Blobs"] += 1
            body = container.page(
                fields.get("prefix", ""),
                fields.get("delimiter", ""),
                fields.get("marker", ""),
                min(int(fields.get("maxresults", 5000)), 5000),
                "metadata" in fields.get("include", ""),
            )
            return _answer(200, "Content-Type: application/xml\r\n", body)
        if request.method in ("GET", "HEAD") and not comp:
            self.counters["Get Container Properties"] += 1
            return _answer(200, self._container_headers())
        raise self._unknown(request)

    @staticmethod
    def _container_headers() -> str:
        return (
            f'ETag: "0x1"\r\nLast-Modified: {now_text()}\r\nx-ms-lease-status: unlocked\r\n'
            "x-ms-lease-state: available\r\nx-ms-has-immutability-policy: false\r\n"
            "x-ms-has-legal-hold: false\r\n"
        )

    def _list_containers(self) -> Answer:
        items = "".join(
            f"<Container><Name>{name}</Name><Properties><Last-Modified>{now_text()}"
            '</Last-Modified><Etag>"0x1"</Etag></Properties></Container>'
            for name in sorted(self.containers)
        )
        body = (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://'
            f'127.0.0.1/"><Containers>{items}</Containers><NextMarker /></EnumerationResults>'
        )
        return _answer(200, "Content-Type: application/xml\r\n", body.encode())

    # What a benchmark asks of the stand-in itself.

    def _control(self, verb: str, query: str) -> Answer:
        fields = {key: values[0] for key, values in parse_qs(query).items()}
        known = {
            "counters": self._control_counters,
            "shape": self._control_shape,
            "container": self._control_container,
            "fill": self._control_fill,
            "synthetic": self._control_synthetic,
        }
        if verb not in known:
            raise _Refusal(404, "NoSuchControl")
        body = json.dumps(known[verb](fields)).encode()
        return _answer(200, "Content-Type: application/json\r\n", body)

    def _control_counters(self, fields: dict[str, str]) -> dict[str, object]:
        seen: dict[str, object] = {
            "requests": dict(self.counters),
            "received_bytes": self.received_bytes,
            "sent_bytes": self.sent_bytes,
            "cpu_seconds": round(time.process_time() - self._cpu_at_reset, 6),
        }
        if "reset" in fields:
            self.counters.clear()
            self.received_bytes = self.sent_bytes = 0
            self._cpu_at_reset = time.process_time()
        return seen

    def _control_shape(self, fields: dict[str, str]) -> dict[str, object]:
        self.delay_seconds = float(fields.get("delay_ms", 0)) / 1000
        self.bytes_per_second = float(fields.get("bytes_per_second", 0))
        above = fields.get("discard_above", "")
        self.discard_above = int(above) if above else None
        return {}

    def _control_container(self, fields: dict[str, str]) -> dict[str, object]:
        """Make it new, and empty."""
        self.containers[fields["name"]] = Container(fields["name"])
        return {}

    def _control_fill(self, fields: dict[str, str]) -> dict[str, object]:
        self.containers[fields["container"]].fill(
            fields.get("prefix", ""),
            int(fields["directories"]),
            int(fields["count"]),
            int(fields.get("size", 1024)),
        )
        return {}

    def _control_synthetic(self, fields: dict[str, str]) -> dict[str, object]:
        blob = Blob(BLOCK, None, int(fields["size"]))
        self.containers[fields["container"]].put(fields["name"], blob)
        return {}
