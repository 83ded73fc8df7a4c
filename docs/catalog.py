"""Writes `docs/norms.md` and `docs/networks.md` from the catalogue: `python -m docs.catalog`."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from api.routes.catalog import list_architectures, list_norms

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by `python -m docs.catalog` from the catalogue that the service answers with. -->"
RECORDS = {"channels": "each channel", "groups": "each group", "sample": "each sample"}
POSITIONS = {"before_activation": "before the activation", "after_activation": "after the activation"}


def norms_page() -> str:
    """Every norm: what it computes, its options, what is easily got wrong."""
    entries = list_norms().data
    return "\n".join(
        [
            "# Norms",
            NOTE,
            "",
            "A job chooses one by `norm: {name: ..., option: value}`. `GET /v1/catalog/norms` answers with the",
            "same list. In the formulas x is a value of a site's input and y of its output, B the mini-batch,",
            "n a sample, c a channel, g a group of channels; scale and shift begin at 1 and 0 unless it says",
            "otherwise.",
            "",
            *table(
                ("norm", "", "eval mode uses", "moments of"),
                (
                    [f"[`{e['name']}`](#{e['name']})", e["summary"], e["eval_mode"], RECORDS[e["records"]]]
                    for e in entries
                ),
            ),
            *(line for entry in entries for line in norm(entry)),
            "",
        ]
    )


def norm(entry: Mapping[str, Any]) -> list[str]:
    """The section of one norm."""
    lines = ["", f"## {entry['name']}", "", entry["summary"], "", "```math", entry["formula"], "```", ""]
    if entry["reference"]:
        lines += [f"Source: {entry['reference']}.", ""]
    lines += [f"Eval mode uses: {entry['eval_mode']}.", ""]
    if entry["pitfalls"]:
        lines += [*(f"- {pitfall}" for pitfall in entry["pitfalls"]), ""]
    return [*lines, *options(entry), f"Networks: {listed(entry['architectures'])}."]


def networks_page() -> str:
    """Every network: its options, norms and positions."""
    entries = list_architectures().data
    return "\n".join(
        [
            "# Networks",
            NOTE,
            "",
            "A job chooses one by `architecture: {name: ..., option: value}`. `GET /v1/catalog/architectures`",
            "answers with the same list. Weights begin by `init: {name: ..., std: ...}`, with `std` for `normal`",
            "and `trunc_normal` alone.",
            *(line for entry in entries for line in network(entry)),
            "",
        ]
    )


def network(entry: Mapping[str, Any]) -> list[str]:
    """The section of one network."""
    lines = ["", f"## {entry['name']}", "", entry["summary"], ""]
    if entry["reference"]:
        lines += [f"Source: {entry['reference']}.", ""]
    lines += options(entry)
    positions = [POSITIONS.get(position, f"`{position}`") for position in map(str, entry["positions"])]
    if positions:
        lines += [f"Norms stand {' or '.join(positions)}; `auto` is {positions[0]}.", ""]
    return [*lines, f"Norms: {listed(entry['norms'])}."]


def options(entry: Mapping[str, Any]) -> list[str]:
    """The table of an entry's options."""
    if not entry["options"]:
        return []
    heads = ("option", "type", "default", "range", "")
    lines = [*table(heads, map(option, entry["options"])), ""]
    for each in entry["options"]:
        lines += parts(each)
    return lines


def parts(option: Mapping[str, Any]) -> list[str]:
    """What the named parts of an option take, in a table of its own; the schemes of `init` stand at the top."""
    if not option["parts"] or option["name"] == "init":
        return []
    rows = [
        [f"`{part['name']}`", part["summary"], "; ".join(map(in_short, part["options"]))]
        for part in option["parts"]
    ]
    return [*table((f"`{option['name']}`", "", "options"), rows), ""]


def in_short(values: Mapping[str, Any]) -> str:
    """An option in a few words."""
    name, kind, default, allowed, _ = option(values)
    return f"{name} ({', '.join(text for text in (kind, default, allowed) if text)})"


def option(values: Mapping[str, Any]) -> list[str]:
    """One row."""
    allowed = listed(values["allowed"]) if values["allowed"] else values["range"] or ""
    default = "required" if values["required"] else f"`{shown(values['default'])}`"
    return [f"`{values['name']}`", values["type"].replace("|", "or"), default, allowed, values["description"]]


def shown(value: Any) -> str:
    """A value as JSON writes it; a part of the spec by its name."""
    return str(value["name"]) if isinstance(value, Mapping) else json.dumps(value).strip('"')


def listed(names: Iterable[Any]) -> str:
    """Names in code type."""
    return ", ".join(f"`{shown(name)}`" for name in names)


def table(heads: tuple[str, ...], rows: Iterable[list[str]]) -> list[str]:
    """A table of Markdown."""
    return [
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows),
    ]


PAGES = {"norms.md": norms_page, "networks.md": networks_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        print(f"wrote {FOLDER / name}", file=sys.stderr)
