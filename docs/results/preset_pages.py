"""The page of a preset: a table made of its report, between what people wrote."""

import json
import re
from pathlib import Path
from typing import Any

from db.experiments.naming import text_of
from db.presets.table import PRESETS

BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"


def write_page(name: str, found: dict[str, Any], page: Path) -> None:
    """Put the table between the marks of a page, and make the page where there is none."""
    text = page.read_text() if page.exists() else f"# {name}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{_generated(name, found)}\n{END}{after}")


def write_overview(folder: Path, page: Path) -> None:
    """Put a row for each preset between the marks of the page of all of them."""
    rows = ["| preset | cells | minutes of jobs | in short |", "|---|---|---|---|"]
    for name in PRESETS:
        found = json.loads((folder / f"{name}.json").read_text())
        (short,) = re.findall(r"^\*In short:\* (.*)$", (folder / f"{name}.md").read_text(), flags=re.MULTILINE)
        minutes = f"{_minutes(found['report']):.1f}"
        rows.append(f"| [{name}]({folder.name}/{name}.md) | {len(found['cells'])} | {minutes} | {short} |")
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text("\n".join([f"{before}{BEGIN}", *rows, f"{END}{after}"]))


def _generated(name: str, found: dict[str, Any]) -> str:
    report, environment = found["report"], found["environment"]
    summary, metric = report["summary"], report["selection"]["metric"]
    target = report["target"]
    cells = len(found["cells"])
    seeds = len({cell["seed"] for cell in found["cells"]})
    aim = f"; target: {target['metric']} {target['value']:g}" if target else ""
    lines = [
        f"**{summary['title']}.** {summary['source']}.",
        "",
        f"*Reported:* {summary['reported']}",
        "",
        f"Measured {found['date']} at scale `{found['scale']}`: {cells} cells, {seeds} "
        f"seed{'s' if seeds > 1 else ''}, {_minutes(report):.1f} minutes of jobs on "
        f"{environment['device']}, {environment['threads']} thread each, torch {environment['torch']}{aim}.",
        "",
        f"![{summary['title']}]({name}.png)",
        "",
        *_table(report, metric),
        "",
        f"*final* is {metric} at the end, the median (least to greatest) over the seeds that did not diverge. "
        + " ".join(_columns_told(report)),
        f"The whole report: [{name}.json]({name}.json).",
    ]
    return "\n".join(lines)


def _minutes(report: dict[str, Any]) -> float:
    """What all runs that succeeded took together."""
    spreads = [arm["seconds"] for arm in report["arms"] if arm["seconds"]]
    return sum(spread["median"] * spread["n"] for spread in spreads) / 60


def _columns_told(report: dict[str, Any]) -> list[str]:
    told = []
    if report["target"]:
        told.append("*steps to target* is the median over seeds; > means that half of them did not get there.")
    if _has_speed_ups(report):
        told.append(
            "*speed-up* is the baseline's median of steps over the arm's: at the same learning rate, and with "
            + ("the best of its rates for each side." if _tried(report) > 1 else "whatever rate each side has.")
        )
    return told


def _tried(report: dict[str, Any]) -> int:
    """Learning rates of a side."""
    best = [arm["speed_up"]["best_lr"] for arm in report["arms"]]
    return max((max(each["tried"] or 0, each["baseline_tried"] or 0) for each in best), default=0)


def _best_head(report: dict[str, Any]) -> str:
    return "best lr" if _tried(report) > 1 else "own lr"


def _has_speed_ups(report: dict[str, Any]) -> bool:
    return any(not arm["is_baseline"] and arm["speed_up"]["best_lr"]["arm"] is not None for arm in report["arms"])


def _table(report: dict[str, Any], metric: str) -> list[str]:
    has_target, compared = report["target"] is not None, _has_speed_ups(report)
    heads = ["arm", "final"] + ["steps to target"] * has_target
    heads += ["speed-up, equal lr", f"speed-up, {_best_head(report)}"] * (has_target and compared)
    heads += ["diverged", "train - eval", "precise - eval", "findings", "seconds"]
    rows = []
    for arm in report["arms"]:
        row = [f"{arm['name']}{' (baseline)' if arm['is_baseline'] else ''}", _spread(arm["final"].get(metric))]
        row += [_steps(arm["steps_to_target"])] * has_target
        if has_target and compared:
            row += [_ratio(arm, "equal_lr"), _ratio(arm, "best_lr")]
        row += [
            f"{arm['divergence']['count']} of {arm['divergence']['ended']}" if arm["divergence"]["count"] else "",
            _gap(arm["train_eval_gap"]),
            _gap(arm["precise_gap"]),
            ", ".join(each["code"] for each in arm["findings"] if each["severity"] != "info"),
            text_of(round(arm["seconds"]["median"], 1)) if arm["seconds"] else "",
        ]
        rows.append(row)
    kept = [number for number in range(len(heads)) if number < 2 or any(row[number] for row in rows)]
    lines = [[heads[number] for number in kept], ["---"] * len(kept)]
    lines += [[row[number] for number in kept] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _spread(spread: dict[str, Any] | None) -> str:
    if spread is None:
        return "none"
    if spread["n"] == 1:
        return f"{spread['median']:.3f}"
    return f"{spread['median']:.3f} ({spread['min']:.3f} to {spread['max']:.3f})"


def _steps(steps: dict[str, Any] | None) -> str:
    if steps is None:
        return ""
    if steps["median"] is None:
        return f"> {steps['at_least']:,.0f}"
    return f"{'≤ ' if steps.get('median_at_first') else ''}{steps['median']:,.0f}"


def _ratio(arm: dict[str, Any], kind: str) -> str:
    found = arm["speed_up"][kind]
    if arm["is_baseline"] or found["baseline"] is None:
        return ""
    if found["ratio"] is not None:
        return f"{found['ratio']:.2g}x"
    if found["at_least"] is not None:
        return f"> {found['at_least']:.2g}x"
    if found["at_most"] is not None:
        return f"< {found['at_most']:.2g}x"
    return "both at once" if "first evaluation" in (found["reason"] or "") else "neither reached it"


def _gap(gaps: dict[str, Any]) -> str:
    gap = gaps.get("accuracy")
    return f"{100 * gap['median']:+.1f} pp" if gap else ""
