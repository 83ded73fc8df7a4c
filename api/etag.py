"""Answers that say whether they are new: an `ETag` on all JSON that is read, 304 where the client has it."""

from hashlib import sha256

from fastapi import Request, Response


def conditional(request: Request, response: Response) -> Response:
    """The answer to a GET of JSON with its ETag, or 304 if the client has just that (RFC 9110, 13.1.2).

    Other answers stay as they are, and so do those with an ETag of their own.
    """
    is_json = response.headers.get("content-type", "").startswith("application/json")
    if request.method != "GET" or response.status_code != 200 or not is_json or "etag" in response.headers:
        return response
    etag = f'"{sha256(response.body).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    response.headers.setdefault("Cache-Control", "private, no-cache")
    if not matches(request.headers.get("if-none-match", ""), etag):
        return response
    kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return Response(status_code=304, headers=kept)


def matches(if_none_match: str, etag: str) -> bool:
    """Whether the header names the tag; a weak one counts, because bytes are not stitched together here."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags
