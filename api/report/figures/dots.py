"""A number of each run, as dots in a row for each arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from api.report.evidence import Evidence, value
from api.report.figures.base import NAME, Figure, Json, label, layout, not_drawn, rounded
from api.report.figures.styles import Look
from api.report.overview import shown_name
from api.report.schemas import Report
from db.experiments.records import Run

#: In pixels: of each arm, and of what is around them.
ROW, AROUND = 21, 90

#: Of an arm: the runs that have the number, by seed.
Values = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Dots:
    """What makes a figure of dots: its words, and the values of each arm, none where it has no row."""

    id: str
    title: str
    #: Title of the axis.
    unit: str
    caption: str
    rows: Sequence[tuple[Evidence, Values]]
    #: Why an arm has no row.
    reason: str


def finals(report: Report, arms: Sequence[Evidence], looks: Mapping[int, Look]) -> Figure | str:
    """The final selection metric; before a run has succeeded, that there is none."""
    metric = report.selection.metric
    dots = Dots(
        id="final",
        title=f"{metric} at the end",
        unit=metric,
        caption="A dot is a run that succeeded, the bar is the median of its arm.",
        rows=[(arm, arm.finals) for arm in arms],
        reason="as no run has succeeded",
    )
    return _drawn(dots, looks)


def gaps(report: Report, arms: Sequence[Evidence], looks: Mapping[int, Look]) -> Figure | str:
    """Batch statistics less running statistics; where no run has measured both, that there is none."""
    measure = report.selection.metric.rpartition("/")[2]
    is_share = measure == "accuracy"
    dots = Dots(
        id="gap",
        title=f"Train/eval gap: {measure}",
        unit="percentage points" if is_share else measure,
        caption=(
            "Batch statistics less running statistics, on the same training samples at the end. A dot is a run, "
            "the bar is the median of its arm."
        ),
        rows=[
            (arm, _gaps(arm, measure, 100 if is_share else 1) if measure in out.train_eval_gap else {})
            for arm, out in zip(arms, report.arms, strict=True)
        ],
        reason="as their norm does not use the batch or not both were measured",
    )
    return _drawn(dots, looks)


def _gaps(arm: Evidence, measure: str, scale: float) -> Values:
    found = {run.seed: _gap(run, measure) for run in arm.succeeded}
    return {seed: scale * gap for seed, gap in found.items() if gap is not None}


def _gap(run: Run, measure: str) -> float | None:
    train, evaluated = (value(run.latest.get(f"gap/{mode}/{measure}")) for mode in ("train_mode", "eval_mode"))
    gap = np.nan if train is None or evaluated is None else train - evaluated
    return float(gap) if np.isfinite(gap) else None


def _drawn(dots: Dots, looks: Mapping[int, Look]) -> Figure | str:
    rows = [(arm, values) for arm, values in dots.rows if values]
    lacking = [shown_name(arm.arm) for arm, values in dots.rows if not values]
    if not rows:
        return f"{dots.title}: no arm has it, {dots.reason}."
    traces = [
        trace
        for place, (arm, values) in enumerate(rows)
        for trace in _row(place, shown_name(arm.arm), values, looks[arm.arm.number])
    ]
    plot = layout(dots.unit, "", height=AROUND + ROW * len(rows), showlegend=False)
    names = [label(shown_name(arm.arm), NAME) for arm, _ in rows]
    # The first arm on top.
    ticks = {"tickvals": list(range(len(rows))), "ticktext": names, "range": [len(rows) - 0.5, -0.5]}
    plot["yaxis"] |= ticks | {"tickfont": {"size": 11}}
    caption = dots.caption + not_drawn(lacking, dots.reason)
    return Figure(id=dots.id, title=dots.title, caption=caption, data=traces, layout=plot)


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
