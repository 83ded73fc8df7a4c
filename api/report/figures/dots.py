"""A number of each run, as dots in a row for each arm."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from api.report.evidence import Evidence, value
from api.report.figures.base import NAME, Figure, Json, label, layout, rounded
from api.report.figures.styles import Look
from api.report.schemas import Report
from db.experiments.records import Run

#: In pixels: of each arm, and of what is around them.
ROW, AROUND = 21, 90

#: Of an arm: the runs that have the number, by seed.
Values = Mapping[int, float]


def finals(report: Report, arms: Sequence[Evidence], looks: Mapping[int, Look]) -> Figure | None:
    """The final selection metric; None before a run has succeeded."""
    metric = report.selection.metric
    caption = "A dot is a run that succeeded, the bar is the median of its arm."
    rows = [(arm, arm.finals) for arm in arms]
    return _dots("final", f"{metric} at the end", caption, rows, looks)


def gaps(report: Report, arms: Sequence[Evidence], looks: Mapping[int, Look]) -> Figure | None:
    """Batch statistics less running statistics; None where no run has measured both."""
    measure = report.selection.metric.rpartition("/")[2]
    caption = (
        "Batch statistics less running statistics, on the same training samples at the end. A dot is a run, the "
        "bar is the median of its arm."
    )
    rows = [
        (arm, {run.seed: gap for run in arm.succeeded if (gap := _gap(run, measure)) is not None}) for arm in arms
    ]
    return _dots("gap", f"Train/eval gap: {measure}", caption, rows, looks)


def _gap(run: Run, measure: str) -> float | None:
    train, evaluated = (value(run.latest.get(f"gap/{mode}/{measure}")) for mode in ("train_mode", "eval_mode"))
    gap = np.nan if train is None or evaluated is None else train - evaluated
    return float(gap) if np.isfinite(gap) else None


def _dots(
    name: str, title: str, caption: str, rows: Sequence[tuple[Evidence, Values]], looks: Mapping[int, Look]
) -> Figure | None:
    drawn = [(arm, values) for arm, values in rows if values]
    if not drawn:
        return None
    traces = [
        trace
        for place, (arm, values) in enumerate(drawn)
        for trace in _row(place, arm.arm.name, values, looks[arm.arm.number])
    ]
    plot = layout(title, "", height=AROUND + ROW * len(drawn), showlegend=False)
    names = [label(arm.arm.name, NAME) for arm, _ in drawn]
    # The first arm on top.
    ticks = {"tickvals": list(range(len(drawn))), "ticktext": names, "range": [len(drawn) - 0.5, -0.5]}
    plot["yaxis"] |= ticks | {"tickfont": {"size": 11}}
    return Figure(id=name, title=title, caption=caption, data=traces, layout=plot)


def _row(place: int, name: str, values: Values, look: Look) -> list[Json]:
    dots, median = rounded(list(values.values())), float(np.median(list(values.values())))
    return [
        {
            "x": dots,
            "y": [place] * len(dots),
            "mode": "markers",
            "marker": {"color": look.colour, "symbol": look.symbol, "size": 8, "opacity": 0.75},
            "text": [f"seed {seed}" for seed in values],
            "hovertemplate": f"{escape(name)}<br>%{{text}}: %{{x:.4g}}<extra></extra>",
        },
        {
            "x": [median],
            "y": [place],
            "mode": "markers",
            "marker": {"color": look.colour, "symbol": "line-ns-open", "size": 16, "line": {"width": 3}},
            "hovertemplate": f"{escape(name)}<br>median: %{{x:.4g}}<extra></extra>",
        },
    ]
