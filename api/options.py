"""The options of a part of the job spec, as the catalogue lists them; read from the part's own schema."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from api.validation import LIMITS
from db.spec.base import LARGEST

Schema = Mapping[str, Any]

#: Fields that are no options: the name is the entry's own.
NOT_OPTIONS = {"name"}
#: Options that many parts share, and where they come from; the others are of the entry's own source.
SHARED_SOURCES = {
    "activation": "torch.nn: ReLU, GELU, SiLU, Sigmoid, Tanh",
    "dropout": "Srivastava et al. 2014 (JMLR 15, 1929); torch.nn.Dropout",
    "init": "torch.nn.init; Glorot & Bengio 2010 (xavier), He et al. 2015 (arXiv 1502.01852, kaiming), Saxe et "
    "al. 2013 (arXiv 1312.6120, orthogonal)",
}


class OptionPart(BaseModel):
    """One of the named parts that an option may be."""

    name: str
    summary: str
    options: "list[Option]"


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
    parts: list[OptionPart] | None = None
    """Of an option that is one of several named parts, or a list of them: what each takes."""


def options(part: type[BaseModel], source: str) -> list[Option]:
    """All options of a part, its own before those that it shares with others."""
    schema, own = part.model_json_schema(), vars(part)["__annotations__"]
    found = list(_Reader(schema.get("$defs", {}), source).options(schema))
    return sorted(found, key=lambda option: option.name not in own)


class _Reader:
    """Reads options out of schemas that share their definitions."""

    def __init__(self, definitions: Schema, source: str) -> None:
        self._definitions = definitions
        self._source = source

    def options(self, schema: Schema, *, parts: bool = True) -> Iterator[Option]:
        """Every option of an object; `parts` says whether to look into the parts that options may be."""
        for name, field in schema.get("properties", {}).items():
            if name not in NOT_OPTIONS:
                required = name in schema.get("required", [])
                yield self._option(name, field, required=required, parts=parts)

    def _option(self, name: str, field: Schema, *, required: bool, parts: bool) -> Option:
        branches = self._branches(field)
        described = field.get("description", branches[0].get("description", ""))
        return Option(
            name=name,
            type=" | ".join(dict.fromkeys(map(self._type, branches))),
            required=required,
            default=field.get("default"),
            allowed=[value for branch in branches for value in _values(branch)] or None,
            range=", ".join(text for branch in branches for text in self._limits(branch)) or None,
            description=" ".join(described.split()),
            source=SHARED_SOURCES.get(name, self._source),
            parts=(list(self._parts(branches)) or None) if parts else None,
        )

    def _parts(self, branches: list[Schema]) -> Iterator[OptionPart]:
        items = [inner for branch in branches if (inner := branch.get("items"))]
        named = [part for inner in items for part in self._branches(inner)] or branches
        for part in named:
            for name in _values(part.get("properties", {}).get("name", {})):
                summary = " ".join(part.get("description", "").split())
                # One level: a residual block holds layers of its own kind again.
                yield OptionPart(name=name, summary=summary, options=list(self.options(part, parts=False)))

    def _branches(self, schema: Schema) -> list[Schema]:
        found = self._resolve(schema)
        return [self._resolve(branch) for branch in found.get("anyOf", found.get("oneOf", [found]))]

    def _resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        return schema

    def _type(self, schema: Schema) -> str:
        if inner := _items(schema):
            return f"{schema['type']} of {self._type(self._branches(inner)[0])}"
        if "type" in schema:
            return str(schema["type"])
        kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
        return " | ".join(dict.fromkeys(kinds[type(value)] for value in _values(schema))) or "object"

    def _limits(self, schema: Schema) -> list[str]:
        own = [text.format(schema[key]) for key, text in LIMITS.items() if key in schema]
        inner = _items(schema)
        of_items = self._limits(self._branches(inner)[0]) if inner else []
        return [text for text in own if text != LIMITS["maximum"].format(LARGEST)] + [
            f"each {text}" for text in of_items
        ]


def _items(schema: Schema) -> Schema | None:
    """What a list holds; of a list of fixed length, what its first place holds."""
    inner = schema.get("items") or next(iter(schema.get("prefixItems", [])), None)
    return inner if isinstance(inner, Mapping) else None


def _values(schema: Schema) -> list[Any]:
    """What an enumeration lists, and the names of a part."""
    if "const" in schema:
        return [schema["const"]]
    name = schema.get("properties", {}).get("name")
    return list(schema.get("enum", [])) or (_values(name) if name else [])
