"""Dotted paths into a spec, as `optimizer.lr`: setting them, reading them, and comparing what stands there."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from db.experiments.fields import beside, is_field, nearest
from db.spec.errors import spec_error
from db.spec.job import JobSpec

Path = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[A-Za-z0-9_]+){0,8}$", max_length=200)]
#: The dimension of named arms; no field of a spec has this name.
ARM = "arm"
#: Fields of a spec that an experiment sets by itself, and where it is told what to.
NOT_VARIED = {"seed": "seeds", "name": "name", "labels": "labels"}

#: Parts that are chosen by a name: for them a bare text stands for {"name": text}.
NAMED = frozenset({"dataset", "architecture", "norm", "loss", "optimizer", "scheduler", "architecture.init"})

#: Of parts that a spec may leave out, what they are then.
_DEFAULTS = {
    name: str(field.default.name) for name, field in JobSpec.model_fields.items() if hasattr(field.default, "name")
}

#: What a path that leads nowhere gives; null is a value.
MISSING = object()


def with_values(spec: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with a value set at each path; a whole part before what stands inside it."""
    made = {key: _whole(key, value) for key, value in spec.items()}
    for path in sorted(values, key=lambda path: path.count(".")):
        if (name := _default_name(made, path)) is not None:
            made[path.partition(".")[0]] = {"name": name}
        _set(made, path.split("."), _whole(path, values[path]))
    return made


def _default_name(spec: Mapping[str, Any], path: str) -> str | None:
    """The name of the part that the path goes into, where the spec leaves the part out."""
    first, _, inside = path.partition(".")
    return _DEFAULTS.get(first) if inside not in ("", "name") and first not in spec else None


def _set(target: dict[str, Any], path: list[str], value: Any) -> None:
    key, *rest = path
    if rest:
        inner = target.get(key)
        target[key] = dict(inner) if isinstance(inner, Mapping) else {}
        _set(target[key], rest, value)
    else:
        target[key] = value


def _whole(path: str, value: Any) -> Any:
    return {"name": value} if path in NAMED and isinstance(value, str) else value


def value_at(spec: Mapping[str, Any], path: str) -> Any:
    """What stands at the path; `MISSING` if nothing does."""
    here: Any = spec
    for key in path.split("."):
        if not isinstance(here, Mapping) or key not in here:
            return MISSING
        here = here[key]
    return here


def matches(spec: Mapping[str, Any], pattern: Mapping[str, Any]) -> bool:
    """Whether all that the pattern names is so in the spec; of a part, what the pattern says of it."""
    return all(_fits(value_at(spec, path), _whole(path, wanted)) for path, wanted in pattern.items())


def _fits(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(key in found and _fits(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    if isinstance(wanted, list) and isinstance(found, (list, tuple)):
        return list(found) == wanted
    return bool(found == wanted)


def check_path(pointer: str, path: str) -> None:
    """The path leads into a job spec.

    Raises:
        PydanticCustomError: it does not, or to what an experiment sets by itself.
    """
    first = path.partition(".")[0]
    if first in NOT_VARIED:
        instead = NOT_VARIED[first]
        message = f"Give {instead} beside base, not here: an experiment sets the {first} of its jobs itself."
        raise spec_error("not_varied", f"{pointer}/{path}", message, allowed=[f"/{instead}"])
    if not is_field(path):
        near = [field for field in nearest(path) if field not in NOT_VARIED][:3]
        allowed = [field for field in beside(path) if field not in NOT_VARIED]
        message = "A job spec has no such field."
        suggestion = f"Did you mean {' or '.join(map(repr, near))}?" if near else None
        raise spec_error("unknown_path", f"{pointer}/{path}", message, allowed=allowed, suggestion=suggestion)
