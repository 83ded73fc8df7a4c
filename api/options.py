"""The options of a part of the job spec, as the catalogue lists them; read from the part's own schema."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from api.validation import LIMITS
from db.spec.base import LARGEST

#: Fields that are no options: the name is the entry's own.
NOT_OPTIONS = {"name"}


class Option(BaseModel):
    """One option: what it may be, and what it is if nobody says."""

    name: str
    type: str
    """JSON types: number, integer, boolean, string, array, object, null; several with | between."""
    required: bool
    default: Any = None
    allowed: list[Any] | None = None
    """The only values, where there are few."""
    range: str | None = None
    """Limits of a number, or of the length of a text or list."""
    description: str
    source: str
    """Paper or library that the option comes from."""


def options(part: type[BaseModel], source: str) -> list[Option]:
    """All options of a part, its own before those that it shares with others."""
    schema = part.model_json_schema()
    required, root, own = schema.get("required", []), schema.get("$defs", {}), vars(part)["__annotations__"]
    fields = [(name, field) for name, field in schema["properties"].items() if name not in NOT_OPTIONS]
    return [
        _option(name, field, source, is_required=name in required, definitions=root)
        for name, field in sorted(fields, key=lambda named: named[0] not in own)
    ]


def _option(
    name: str, field: Mapping[str, Any], source: str, *, is_required: bool, definitions: Mapping[str, Any]
) -> Option:
    branches = [_resolve(branch, definitions) for branch in field.get("anyOf", field.get("oneOf", [field]))]
    allowed = [value for branch in branches for value in _values(branch)]
    limits = [text for branch in branches for text in _limits(branch, definitions)]
    return Option(
        name=name,
        type=" | ".join(dict.fromkeys(_type(branch, definitions) for branch in branches)),
        required=is_required,
        default=field.get("default"),
        allowed=allowed or None,
        range=", ".join(limits) or None,
        description=" ".join(field.get("description", branches[0].get("description", "")).split()),
        source=source,
    )


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    return schema


def _type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    inner = schema.get("items") or next(iter(schema.get("prefixItems", [])), None)
    if isinstance(inner, Mapping):
        return f"{schema['type']} of {_type(_resolve(inner, definitions), definitions)}"
    if "type" in schema:
        return str(schema["type"])
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return " | ".join(dict.fromkeys(kinds[type(value)] for value in _values(schema))) or "object"


def _values(schema: Mapping[str, Any]) -> list[Any]:
    """What an enumeration lists, and the names of the parts of a union."""
    if "const" in schema:
        return [schema["const"]]
    name = schema.get("properties", {}).get("name")
    return list(schema.get("enum", [])) or (_values(name) if name else [])


def _limits(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    own = [
        text.format(schema[key]) for key, text in LIMITS.items() if key in schema and not _is_float32s(schema[key])
    ]
    inner = schema.get("items") or next(iter(schema.get("prefixItems", [])), None)
    of_items = _limits(_resolve(inner, definitions), definitions) if isinstance(inner, Mapping) else []
    return own + [f"each {text}" for text in of_items]


def _is_float32s(limit: object) -> bool:
    """Whether a limit only says that float32 can hold the number."""
    return isinstance(limit, float) and limit >= LARGEST
