"""The fields of a job spec by dotted path, read from its JSON schema."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from db.spec.job import JobSpec

Schema = Mapping[str, Any]

#: Stands for a key of the client's own.
ANY = "*"
#: What else a field is called.
OTHER_NAMES = {"learning_rate": "lr"}


@cache
def fields() -> Mapping[str, frozenset[str]]:
    """All paths, each with the names of the parts that have it: {"norm.n_mu": {"noisy_batch"}, "steps": {}}."""
    schema = JobSpec.model_json_schema()
    found: dict[str, frozenset[str]] = {}
    for path, owner in _fields(schema, schema, ""):
        found[path] = found.get(path, frozenset()) | owner
    return found


def _fields(root: Schema, here: Schema, prefix: str) -> Iterator[tuple[str, frozenset[str]]]:
    for part in _branches(root, here):
        properties = part.get("properties", {})
        name = properties.get("name", {}).get("const")
        owner = frozenset([name] if name is not None else [])
        for key, inside in properties.items():
            yield prefix + key, owner
            yield from _fields(root, inside, f"{prefix}{key}.")
        if part.get("additionalProperties"):
            yield prefix + ANY, owner


def _branches(root: Schema, schema: Schema) -> Iterator[Schema]:
    """The schema itself, or what a reference or a union stands for."""
    inside = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if "$ref" in schema:
        inside.append(root["$defs"][schema["$ref"].rpartition("/")[2]])
    for branch in inside:
        yield from _branches(root, branch)
    if not inside:
        yield schema


def is_field(path: str) -> bool:
    """Whether a job spec may have something there."""
    return path in fields() or f"{path.rpartition('.')[0]}.{ANY}" in fields()


def beside(path: str) -> list[str]:
    """The fields of the part that a path leads into, or of the whole spec where it leads nowhere."""
    part = path.rpartition(".")[0]
    while part and not (found := _inside(part)):
        part = part.rpartition(".")[0]
    return found if part else _inside("")


def _inside(part: str) -> list[str]:
    return sorted(path for path in fields() if path.rpartition(".")[0] == part and not path.endswith(ANY))


def nearest(path: str) -> list[str]:
    """What a path that leads nowhere may mean: fields of the same last name, or else of nearly the same path."""
    last = path.rpartition(".")[2]
    wanted = {last, OTHER_NAMES.get(last, last)}
    named = [field for field in fields() if not field.endswith(ANY)]
    same = [field for field in named if field.rpartition(".")[2] in wanted]
    inside = [field for field in same if field.partition(".")[0] == path.partition(".")[0]]
    return inside or same or get_close_matches(path, named, n=1)
