"""Short names of settings, for people."""

from collections.abc import Mapping
from typing import Any

from db.experiments.paths import ARM


def name_of(coordinates: Mapping[str, Any]) -> str:
    """`BN, lr 0.1` or `norm batch (momentum 0.01), batch_size 32`: what was chosen on each dimension."""
    lasts = [path.rpartition(".")[2] for path in coordinates]
    parts = []
    for path, value in coordinates.items():
        last = path.rpartition(".")[2]
        label = last if lasts.count(last) == 1 else path
        parts.append(str(value) if path == ARM else f"{label} {text_of(value)}")
    return ", ".join(parts) or "base"


def text_of(value: Any) -> str:
    """A value in words: `0.1`, `off`, `batch (momentum 0.01)`."""
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case Mapping():
            return _text_of_part(value)
        case list() | tuple():
            return "[" + ", ".join(text_of(item) for item in value) + "]"
    return str(value)


def _text_of_part(part: Mapping[str, Any]) -> str:
    others = ", ".join(f"{key} {text_of(value)}" for key, value in part.items() if key != "name")
    if "name" not in part:
        return others
    return f"{part['name']} ({others})" if others else str(part["name"])
