"""In what the arms of an experiment differ, by dotted path, and what they share."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from db.experiments.naming import text_of

#: Keys of a spec, from the outside in.
Path = tuple[str, ...]


def differences(specs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each resolved spec, by dotted path, what is not the same in all of them."""
    found: list[dict[str, Any]] = [{} for _ in specs]
    _differ((), specs, found)
    return found


def shared(specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By dotted path, what is the same in all specs; empty without specs."""
    return _leaves("", _common(specs)) if specs else {}


def canonical(value: Any) -> str:
    """The same text for equal values."""
    return json.dumps(value, sort_keys=True, default=str)


def _differ(path: Path, values: Sequence[Any], found: list[dict[str, Any]]) -> None:
    """Add what is at `path`, one value for each arm, to what was found, unless it is all the same."""
    if len(set(map(canonical, values))) <= 1:
        return
    if _are_alike(values):
        for key in dict.fromkeys(key for value in values for key in value):
            _differ((*path, key), [value.get(key) for value in values], found)
        return
    told = _told(values)
    for settings, value in zip(found, values, strict=True):
        settings[".".join(path)] = _described(value, told)


def _are_alike(values: Sequence[Any]) -> bool:
    """Whether all are parts of the same kind, whose fields can be compared one by one."""
    if not all(isinstance(value, Mapping) for value in values):
        return False
    return len({canonical(value.get("name")) for value in values}) == 1


def _told(values: Sequence[Any]) -> set[str]:
    """Fields that are not the same in all the parts that have them: what the name alone does not say."""
    known: dict[str, set[str]] = {}
    for value in values:
        for key, entry in value.items() if isinstance(value, Mapping) else ():
            known.setdefault(key, set()).add(canonical(entry))
    return {key for key, entries in known.items() if len(entries) > 1}


def _described(value: Any, told: set[str]) -> Any:
    """A plain value as it is; a named part in words."""
    if not isinstance(value, Mapping) or "name" not in value:
        return value
    return text_of({key: entry for key, entry in value.items() if key == "name" or key in told})


def _common(values: Sequence[Any]) -> dict[str, Any]:
    """The fields that all have, and all have the same, with what fields of theirs are shared."""
    kept: dict[str, Any] = {}
    for key, first in values[0].items():
        entries = [value.get(key) for value in values]
        if len(set(map(canonical, entries))) == 1:
            kept[key] = first
        elif _are_alike(entries):
            kept[key] = _common(entries)
    return kept


def _leaves(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, entry in value.items():
        found |= _leaves(f"{prefix}.{key}" if prefix else key, entry)
    return found
