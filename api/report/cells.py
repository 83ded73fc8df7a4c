"""What a cell of the page's table says: a rounded number, and small notes below it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from api.report.schemas import ArmOut, Comparison, IntervalOut, Spread
from db.experiments.status import CellStatus
from db.spec.lints.base import Severity

#: Where there is no number.
NOTHING = "–"
#: How a number is written.
Show = Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number, and what there is to say of it."""

    text: str = NOTHING
    notes: tuple[str, ...] = ()
    #: Why there is no number, shown on request.
    title: str = ""
    #: What would make the row high: folded under a short word.
    fold: str = ""
    folded: tuple[str, ...] = ()
    #: A severity where it asks for a look.
    tone: Severity | None = None

    @property
    def says(self) -> bool:
        """Whether there is a number, or a reason for none that differs by arm."""
        return self.text != NOTHING or bool(self.folded)


def runs(arm: ArmOut) -> Cell:
    """How many of its cells have succeeded, and what of the others."""
    total, done = sum(arm.cells.values()), arm.cells.get(CellStatus.SUCCEEDED, 0)
    diverged = arm.divergence.count
    # Those that diverged are among the failed, and are told apart.
    failed = arm.cells.get(CellStatus.FAILED, 0) - diverged
    others = {
        name: count for name, count in arm.cells.items() if name not in (CellStatus.SUCCEEDED, CellStatus.FAILED)
    }
    counts = {"diverged": diverged, "failed": failed} | others | {"reused": arm.reused}
    notes = tuple(f"{count} {name}" for name, count in counts.items() if count)
    return Cell(text=f"{done} of {total}", notes=notes, tone=Severity.BAD if diverged or failed else None)


def spread(spreads: Mapping[str, Spread], name: str) -> Cell:
    """The median of a metric with its interval."""
    return _spread(spreads.get(name), partial(measured, metric=name))


def gap(spreads: Mapping[str, Spread], measure: str) -> Cell:
    """The median of a difference between two modes, with its interval."""
    return _spread(spreads.get(measure), partial(change, metric=measure))


def _spread(found: Spread | None, show: Show) -> Cell:
    if found is None:
        return Cell()
    odd = (f"{found.not_finite} not finite",) if found.not_finite else ()
    return Cell(text=show(found.median), notes=_interval(found.ci, show) + odd)


def steps(arm: ArmOut) -> Cell:
    """Steps to the target, and how many of the runs got there; a bound where half were there at first sight."""
    found = arm.steps_to_target
    if found is None:
        return Cell()
    # One of the two is always there.
    shown = f"{found.median:,.0f}" if found.median is not None else f"> {found.at_least or 0:,.0f}"
    lost = (f"{found.diverged} diverged",) if found.diverged else ()
    reached = (f"{found.reached} of {found.n} reached it",) if found.censored else ()
    if found.median_at_first:
        return Cell(
            text=f"≤ {shown}", notes=reached + lost, title="reached at the first evaluation, or at any step before"
        )
    return Cell(text=shown, notes=_interval(found.ci, partial(number, digits=0)) + reached + lost)


def ratio(compared: Comparison) -> Cell:
    """A speed-up, or its bound, or why there is none."""
    if compared.arm is None:
        return _no_comparison(compared)
    if compared.ratio is not None:
        return Cell(text=f"{number(compared.ratio, 3)}×", notes=_interval(compared.ci, partial(number, digits=3)))
    bound = NOTHING
    if compared.at_least is not None:
        bound = f"≥ {number(compared.at_least, 3)}×"
    elif compared.at_most is not None:
        bound = f"≤ {number(compared.at_most, 3)}×"
    return Cell(text=bound, fold="why", folded=(compared.reason or "",))


def rates(compared: Comparison) -> Cell:
    """The learning rates of a comparison, this side's and the baseline's, and out of how many each was chosen."""
    if compared.arm is None:
        return _no_comparison(compared)
    return Cell(
        text=f"{compared.learning_rate:.4g} vs {compared.baseline_learning_rate:.4g}",
        notes=(f"of {compared.tried} vs {compared.baseline_tried}",),
        title="this side's learning rate and the baseline's, and of how many each was chosen",
    )


def difference(compared: Comparison) -> Cell:
    """What is gained in the final metric."""
    if compared.arm is None:
        return _no_comparison(compared)
    found = compared.difference
    if found is None:
        return Cell(title="no run of one side has succeeded")
    show = partial(change, metric=found.metric)
    return Cell(text=show(found.median), notes=_interval(found.ci, show))


def _no_comparison(compared: Comparison) -> Cell:
    return Cell(title=compared.reason or "")


def findings(arm: ArmOut) -> Cell:
    """The worst, and in how many runs it is; the others on request."""
    told = tuple(f"{found.code} × {found.runs}" for found in arm.findings)
    if not told:
        return Cell()
    return Cell(
        text=told[0], fold=f"+{len(told) - 1}" if told[1:] else "", folded=told[1:], tone=arm.findings[0].severity
    )


def time(arm: ArmOut) -> Cell:
    """Of a run, and the samples that its training takes in a second."""
    if arm.seconds is None:
        return Cell()
    speed = arm.samples_per_second
    return Cell(text=duration(arm.seconds.median), notes=(f"{speed.median:,.0f}/s",) if speed else ())


def duration(seconds: float) -> str:
    """In the greatest unit that there is at least one of, and the next one; of a few seconds with a decimal."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    left, parts = round(seconds), list[str]()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def measured(value: float, metric: str) -> str:
    """A value of a metric: of accuracies with as many decimals as all others have, so that they line up."""
    return f"{value:.3f}" if _is_accuracy(metric) else number(value, 4)


def change(value: float, metric: str) -> str:
    """A difference of two values of a metric; of accuracies in percentage points."""
    if _is_accuracy(metric):
        # Adding 0 takes the sign from what is rounded to -0.
        return f"{round(100 * value, 1) + 0.0:+.1f} pp".replace("-", "−")
    return number(value, 3, signed=True)


def _is_accuracy(metric: str) -> bool:
    return metric.rpartition("/")[2] == "accuracy"


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """With so many significant digits; whole, with separators, for none."""
    shown = f"{value:{'+' if signed else ''}#.{digits}g}" if digits else f"{value:,.0f}"
    return shown.removesuffix(".").replace("-", "−")


def _interval(interval: IntervalOut | None, show: Show) -> tuple[str, ...]:
    if interval is None:
        return ()
    # The number above says the unit.
    low, high = (
        "?" if limit is None else show(limit).removesuffix(" pp") for limit in (interval.low, interval.high)
    )
    return (f"[{low}, {high}]",)
