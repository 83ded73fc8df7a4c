"""Ids that sort by time: a prefix for the kind and a UUIDv7."""

import uuid_utils


def new_id(prefix: str) -> str:
    """`job_0198c...`: 32 hexadecimal digits after the prefix."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"
