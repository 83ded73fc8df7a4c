"""Ids that sort by time: a prefix for the kind and a UUIDv7."""

import re

import uuid_utils


def new_id(prefix: str) -> str:
    """`job_0198c...`: 32 hexadecimal digits after the prefix."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` could be an id of the kind; anything else need not reach the database."""
    return re.fullmatch(rf"{prefix}_[0-9a-f]{{32}}", text) is not None
