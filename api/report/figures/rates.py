"""The final metric against the learning rate, for each family of arms that differ in nothing else."""

import math
from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from api.report.evidence import Evidence
from api.report.figures.base import NAME, Figure, Json, label, layout, not_drawn
from api.report.figures.styles import SHOWN, Look, look
from api.report.places import families, without_learning_rate
from api.report.schemas import ArmOut, Report
from db.experiments.naming import text_of

#: Learning rates that each have a tick of their own.
MOST_TICKS = 8


def by_learning_rate(report: Report, arms: Sequence[Evidence]) -> Figure | str:
    """A line for each family with several learning rates; where there is none, that there is none."""
    outs = dict(zip((arm.arm.number for arm in arms), report.arms, strict=True))
    found = [sorted(family, key=lambda arm: arm.learning_rate) for family in families(arms)]
    several = [family for family in found if len({arm.learning_rate for arm in family}) > 1]
    known = [arm.finals for family in several for arm in family if arm.finals]
    metric = report.selection.metric
    if not several:
        return f"{metric} by learning rate: no two arms differ in the learning rate alone."
    if not known:
        return f"{metric} by learning rate: no run has succeeded."
    caption = (
        "Medians over the runs that succeeded, with the least and the greatest. A cross below marks a learning "
        "rate at which runs diverged."
    )
    if len(several) > SHOWN:
        caption += f" The first {SHOWN} of {len(several)} families are shown; the legend switches others on."
    alone = [without_learning_rate(family[0]) for family in found if family not in several]
    caption += not_drawn(alone, "as they have one learning rate")
    floor = _below([final for finals in known for final in finals.values()])
    data = [
        trace
        for place, (family, drawn) in enumerate(zip(several, _looks(several), strict=True))
        for trace in _traces(place, drawn, family, [outs[arm.arm.number] for arm in family], floor)
    ]
    plot = layout("learning rate", metric, height=500)
    ticks = _ticks(sorted({arm.learning_rate for family in several for arm in family}))
    plot["xaxis"] |= {"type": "log", "tickvals": ticks, "ticktext": [text_of(tick) for tick in ticks]}
    return Figure(id="rates", title=f"{metric} by learning rate", caption=caption, data=data, layout=plot)


def _ticks(rates: Sequence[float]) -> list[float]:
    """The rates themselves where they leave room for their numbers, or powers of ten, or round numbers between."""
    low, high = rates[0], rates[-1]
    apart = (math.log(high) - math.log(low)) / MOST_TICKS
    if all(math.log(after / before) > 0.9 * apart for before, after in pairwise(rates)):
        return list(rates)
    powers = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    if len(powers) > 1:
        return powers[:: math.ceil(len(powers) / MOST_TICKS)]
    return sorted({float(f"{rate:.2g}") for rate in np.geomspace(low, high, 4)})


def _below(values: Sequence[float]) -> float:
    """Somewhat under all of them."""
    low, high = min(values), max(values)
    return low - 0.06 * (high - low or abs(high) or 1.0)


def _looks(several: Sequence[Sequence[Evidence]]) -> list[Look]:
    """Of each family: grey where an arm of it is a baseline."""
    ranks: Counter[bool] = Counter()
    found = []
    for place, family in enumerate(several):
        is_baseline = any(arm.arm.is_baseline for arm in family)
        found.append(look(ranks[is_baseline], is_baseline=is_baseline, is_shown=place < SHOWN))
        ranks[is_baseline] += 1
    return found


def _traces(
    place: int, drawn: Look, family: Sequence[Evidence], outs: Sequence[ArmOut], floor: float
) -> list[Json]:
    """A line through the arms that have finals, and crosses where runs diverged."""
    name = without_learning_rate(family[0])
    common = {"legendgroup": str(place), "visible": True if drawn.is_shown else "legendonly"}
    solid = [(arm.learning_rate, list(arm.finals.values())) for arm in family if arm.finals]
    medians = [float(np.median(finals)) for _, finals in solid]
    line = {
        "x": [rate for rate, _ in solid],
        "y": medians,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [max(finals) - median for median, (_, finals) in zip(medians, solid, strict=True)],
            "arrayminus": [median - min(finals) for median, (_, finals) in zip(medians, solid, strict=True)],
            "thickness": 1.5,
        },
        "name": label(name, NAME),
        "mode": "lines+markers",
        "line": drawn.line,
        "marker": {"color": drawn.colour, "symbol": drawn.symbol, "size": 8},
        "hovertemplate": f"{escape(name)}<br>learning rate %{{x}}: %{{y:.4g}}<extra></extra>",
    }
    lost = [
        (arm.learning_rate, out.divergence) for arm, out in zip(family, outs, strict=True) if out.divergence.count
    ]
    crosses = {
        "x": [rate for rate, _ in lost],
        "y": [floor] * len(lost),
        "mode": "markers",
        "marker": {"color": drawn.colour, "symbol": "x", "size": 9},
        "text": [f"{divergence.count} of {divergence.ended} diverged" for _, divergence in lost],
        "hovertemplate": f"{escape(name)}<br>learning rate %{{x}}: %{{text}}<extra></extra>",
        "showlegend": False,
    }
    return [common | trace for trace in (line, crosses) if trace["x"]]
