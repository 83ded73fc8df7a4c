"""Files over HTTP: one range at a time, a strong ETag that is the sha256, nothing of the client's in a path."""

import base64
import re
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.responses import StreamingResponse

from api.problems import ProblemError
from db import checkpoints
from db.store import Store
from db.tables import Artifact

RANGE = re.compile(r"bytes=(\d*)-(\d*)")

#: A whole file up to here is read once before it is sent, so that damage is an answer and not a surprise. A longer
#: one, and a part of one, is only known to be as long as it should be; `Repr-Digest` lets the client look.
VERIFIED_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Span:
    """Bytes of a file: from `start`, before `end`."""

    start: int
    end: int


def answer(request: Request, artifact: Artifact, store: Store, *, immutable: bool) -> Response:
    """The whole file, the range that was asked for, or 304 if the client has it (RFC 9110, 13 and 14).

    `immutable` says that the address will never give another file.

    Raises:
        ProblemError: 416, the range lies outside the file.
        ArtifactPending: the file is still being made.
        ArtifactFailed: it could not be made.
        FileMissing: the store has it no more.
        FileDamaged: the store has something else in its place.
    """
    file = checkpoints.stored_file(artifact)
    etag = f'"{file.sha256}"'
    headers = {
        "ETag": etag,
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(file.sha256)).decode()}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, immutable, max-age=31536000" if immutable else "private, no-cache",
        "Content-Disposition": f'attachment; filename="{artifact.filename}"',
        "X-Content-Type-Options": "nosniff",
    }
    is_head = request.method == "HEAD"
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    # A range is defined for GET alone.
    span = None if is_head else _span(request, etag, file.size_bytes)
    status = 200
    if span is None:
        span = Span(start=0, end=file.size_bytes)
    else:
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{file.size_bytes}"
    length = span.end - span.start
    headers["Content-Length"] = str(length)
    store.verify(file, content=status == 200 and not is_head and length <= VERIFIED_BYTES)
    if is_head:
        return Response(status_code=status, headers=headers, media_type=artifact.media_type)
    content = store.open(file.key, span.start, length)
    return StreamingResponse(content, status, headers, media_type=artifact.media_type)


def _matches(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or etag in tags


def _span(request: Request, etag: str, size: int) -> Span | None:
    """The range that was asked for; none for the whole file, also where the header is to be ignored."""
    header = request.headers.get("range", "").strip()
    found = RANGE.fullmatch(header)
    if found is None or (not found[1] and not found[2]) or request.headers.get("if-range", etag) != etag:
        return None
    # No file is so long that more digits mean anything, and int() refuses thousands of them.
    first, last = (text.lstrip("0")[:20] or text[:1] for text in found.groups())
    if not first:
        start, end = max(0, size - int(last)), size
        invalid = int(last) == 0
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None
        invalid = start >= size
    if invalid or start >= end:
        raise ProblemError(
            416,
            "range_not_satisfiable",
            "The range cannot be satisfied",
            f"The file has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Span(start=start, end=end)
