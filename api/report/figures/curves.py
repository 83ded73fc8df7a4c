"""The metric over the steps: for each arm a median over its seeds, and a band."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from api.report.evidence import Evidence
from api.report.figures.base import NAME, Figure, Json, label, layout, not_drawn, rounded
from api.report.figures.styles import SHOWN, Look
from api.report.overview import shown_name
from api.report.schemas import Report, TargetOut
from db.experiments.records import Series
from db.frames import run_starts

#: Points of one line, and of all lines of a figure together.
LINE_POINTS, FIGURE_POINTS = 2_000, 40_000


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Over those runs that have a finite value at the step. All of one length."""

    steps: list[int]
    median: list[float]
    low: list[float]
    high: list[float]


def curve(series: Sequence[Series], max_points: int) -> Curve | None:
    """The runs together, at no more than so many steps; None where no value is finite.

    Of more steps, each run of them becomes one point: its last median, its least and its greatest value.
    """
    steps = np.unique(np.concatenate([np.asarray(at, np.int64) for at, _ in series] or [np.empty(0, np.int64)]))
    table = np.full((len(series), len(steps)), np.nan)
    for row, (at, values) in zip(table, series, strict=True):
        row[np.searchsorted(steps, at)] = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(table).any(axis=0)
    if not known.any():
        return None
    steps, table = steps[known], table[:, known]
    starts = run_starts(len(steps), min(len(steps), max_points))
    last = np.append(starts[1:], len(steps)) - 1
    return Curve(
        steps=steps[last].tolist(),
        median=rounded(np.nanmedian(table, axis=0)[last].tolist()),
        low=rounded(np.minimum.reduceat(np.nanmin(table, axis=0), starts).tolist()),
        high=rounded(np.maximum.reduceat(np.nanmax(table, axis=0), starts).tolist()),
    )


def curves(report: Report, arms: Sequence[Evidence], looks: Mapping[int, Look]) -> Figure | str:
    """The selection metric of all arms; before a run has had two evaluations, that there is none."""
    metric = report.selection.metric
    points = min(LINE_POINTS, max(100, FIGURE_POINTS // max(1, len(arms))))
    lines = [
        (arm, curve([run.series[metric] for run in arm.runs if metric in run.series], points)) for arm in arms
    ]
    drawn = [(arm, line) for arm, line in lines if line is not None]
    if all(len(line.steps) < 2 for _, line in drawn):
        return f"{metric} over steps: no run has had more than one evaluation."
    caption = (
        "Lines are medians over seeds, bands go from the least to the greatest, of the runs still in training."
    )
    if len(drawn) > SHOWN:
        caption += (
            f" The best {SHOWN} of {len(drawn)} arms and a baseline are shown; the legend switches others on."
        )
    lacking = [shown_name(arm.arm) for arm, line in lines if line is None]
    caption += not_drawn(lacking, "without a finite evaluation")
    traces = [trace for arm, line in drawn for trace in _traces(arm, line, looks[arm.arm.number])]
    ends = min(line.steps[0] for _, line in drawn), max(line.steps[-1] for _, line in drawn)
    return Figure(
        id="curves",
        title=f"{metric} over steps",
        caption=caption,
        data=traces + _target(report.target, ends),
        layout=layout("optimizer step", metric, height=560),
    )


def _traces(arm: Evidence, line: Curve, look: Look) -> list[Json]:
    """The band, and the line over it; the legend switches both."""
    name = shown_name(arm.arm)
    common = {"legendgroup": str(arm.arm.number), "visible": True if look.is_shown else "legendonly"}
    band = {
        "x": line.steps + line.steps[::-1],
        "y": line.high + line.low[::-1],
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": look.band,
        "hoverinfo": "skip",
        "showlegend": False,
    }
    median = {
        "x": line.steps,
        "y": line.median,
        "name": label(name, NAME),
        "mode": "lines" if len(line.steps) > 1 else "markers",
        "line": look.line,
        "marker": {"color": look.colour, "symbol": look.symbol},
        "hovertemplate": f"{escape(name)}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
    }
    return [common | band, common | median]


def _target(target: TargetOut | None, ends: tuple[int, int]) -> list[Json]:
    """A line at the target between two steps. It is a trace, so that the axis reaches a little beyond it."""
    if target is None:
        return []
    return [
        {
            "x": list(ends),
            "y": [target.value, target.value],
            "mode": "lines+text",
            "line": {"color": "#888888", "width": 1, "dash": "dot"},
            "text": ["", f"target {target.value:.4g}"],
            "textposition": "top left",
            "textfont": {"size": 11, "color": "#888888"},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]
