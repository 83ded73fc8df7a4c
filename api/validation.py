"""From pydantic's errors to field errors: a JSON pointer, what is allowed there, and a suggestion.

What is allowed is read from the JSON schema of the body, so that it is said once, in the models.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.problems import FieldError, suggest

Schema = Mapping[str, Any]

#: Wrong fields that one answer names.
MOST_ERRORS = 50

#: Limits of a number or a text, as JSON schema and as people write them.
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} fields",
    "maxProperties": "at most {} fields",
    "pattern": "text that matches {}",
}


def field_errors(errors: Sequence[Mapping[str, Any]], schema: Schema | None) -> list[FieldError]:
    """One field error for each of pydantic's, without what the client sent."""
    result: dict[str, FieldError] = {}
    for error in errors[:MOST_ERRORS]:
        place, *location = error["loc"]
        made = _query_error(error, location) if place == "query" else _body_error(error, location, schema or {})
        known = result.setdefault(made.pointer, made)
        if known.message != made.message:  # the branches of a union each say what they would take
            known.message = f"{known.message} Or: {made.message}"
    return [made for made in result.values() if not _follows_from_items(made, result)]


def _follows_from_items(made: FieldError, others: Iterable[str]) -> bool:
    """Whether a list only seems too short because the items that are wrong do not count."""
    return made.code == "too_short" and any(other.startswith(f"{made.pointer}/") for other in others)


def _query_error(error: Mapping[str, Any], location: Sequence[Any]) -> FieldError:
    context = error.get("ctx", {})
    limits = (text.format(context[key]) for key, text in QUERY_LIMITS.items() if key in context)
    allowed = next(limits, context.get("allowed"))
    # `'a', 'b' or 'c'` as names
    names = str(context["expected"]).split("'")[1::2] if "expected" in context else []
    return FieldError(
        pointer=f"?{location[0] if location else ''}",
        code=error["type"],
        message=error["msg"],
        allowed=names or allowed,
        suggestion=suggest(error.get("input"), names),
    )


QUERY_LIMITS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}


def _body_error(error: Mapping[str, Any], location: Sequence[Any], schema: Schema) -> FieldError:
    context = error.get("ctx", {})
    if "pointer" in context:  # a rule that joins several fields names its field itself
        allowed = context.get("allowed")
        near = suggest(context.get("given"), allowed) if isinstance(allowed, list) else None
        return FieldError(
            pointer=context["pointer"],
            code=error["type"],
            message=error["msg"],
            allowed=allowed,
            suggestion=context.get("suggestion") or near,
        )
    walk = _Walk(schema)
    for part in location:
        walk.step(part)
    allowed, given = walk.allowed(error["type"]), error.get("input")
    if error["type"] == "extra_forbidden" and location:
        given = location[-1]
    elif error["type"].startswith("union_tag"):
        given = context.get("tag")
        walk.path.append("name")
    elif walk.is_union and isinstance(given, str) and given in allowed:
        return FieldError(
            pointer=walk.pointer,
            code=error["type"],
            message="An object with a name is required here.",
            allowed=allowed,
            suggestion=f'Did you mean {{"name": "{given}"}}?',
        )
    return FieldError(
        pointer=walk.pointer,
        code=error["type"],
        message=MESSAGES[error["type"]].format(**context) if error["type"] in MESSAGES else error["msg"],
        allowed=allowed,
        suggestion=suggest(given, allowed) if isinstance(allowed, list) else None,
    )


MESSAGES = {
    "extra_forbidden": "There is no such field here.",
    "missing": "This field is required.",
    "tuple_type": "A list is required here.",
    "union_tag_invalid": "There is nothing of this name.",
    "union_tag_not_found": "A name is required here.",
    "model_attributes_type": "An object is required here.",
    "model_type": "An object is required here.",
    "too_long": "At most {max_length} are taken here.",
    "too_short": "At least {min_length} are needed here.",
}


class _Walk:
    """A walk along one of pydantic's locations through a JSON schema.

    pydantic's locations hold the tags of unions too; those choose a branch and are no part of the pointer.
    """

    def __init__(self, schema: Schema) -> None:
        self._root = schema
        self._here = self._resolve(schema)
        self._parent: Schema = {}
        self.path: list[object] = []

    def step(self, part: object) -> None:
        """Follow one part of the location."""
        tags = self._here.get("discriminator", {}).get("mapping", {})
        branches = self._here.get("anyOf", self._here.get("oneOf", []))
        named = {branch.get("$ref", "").rpartition("/")[2]: branch for branch in branches}
        if part == "[key]":
            patterns = list(self._parent.get("patternProperties", {}))
            self._here = {"type": "string", "pattern": patterns[0]} if patterns else {}
        elif part in tags:
            self._here = self._resolve({"$ref": tags[part]})
        elif part and part in named:
            self._here = self._resolve(named[part])
        elif isinstance(part, str) and ("[" in part or part.startswith("function-")):
            self._here = self._branch(part)
        else:
            self.path.append(part)
            self._parent = self._here
            self._here = self._resolve(self._child(part))

    @property
    def pointer(self) -> str:
        """The walk so far, as a JSON pointer (RFC 6901)."""
        parts = (str(part).replace("~", "~0").replace("/", "~1") for part in self.path)
        return "/".join(["", *parts])

    @property
    def is_union(self) -> bool:
        """Whether one of several named parts is wanted here."""
        return "discriminator" in self._here

    def _child(self, part: object) -> Schema:
        here = self._here
        if isinstance(part, int):
            each = here.get("prefixItems", [])
            child = each[part] if part < len(each) else here.get("items", {})
        else:
            others = list(here.get("patternProperties", {}).values()) or [here.get("additionalProperties", {})]
            child = here.get("properties", {}).get(part) or others[0]
        return child if isinstance(child, Mapping) else {}

    def _branch(self, label: str) -> Schema:
        """The branch of a plain union that a label like `dict[str,...]` stands for."""
        kind = "object" if label.startswith("dict") else "string"
        branches = [self._resolve(branch) for branch in self._here.get("anyOf", [])]
        return next((branch for branch in branches if branch.get("type") == kind), {})

    def _resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            target: Any = self._root
            for key in schema["$ref"].removeprefix("#/").split("/"):
                target = target.get(key, {})
            schema = target
        branches = [branch for branch in schema.get("anyOf", []) if branch.get("type") != "null"]
        return self._resolve(branches[0]) if len(branches) == 1 and "anyOf" in schema else schema

    def allowed(self, code: str) -> Any:
        """What may stand at the end of the walk: names, or a sentence on type and limits."""
        if code == "extra_forbidden":
            return sorted(self._parent.get("properties", {}))
        here = self._here
        if self.is_union:
            return sorted(here["discriminator"]["mapping"])
        if "const" in here:
            return [here["const"]]
        if "enum" in here:
            return list(here["enum"])
        if here.get("properties"):
            return sorted(here["properties"]) if code != "missing" else None
        limits = [text.format(here[key]) for key, text in LIMITS.items() if key in here]
        return ", ".join([here["type"], *limits]) if "type" in here else None
