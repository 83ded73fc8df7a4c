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
    #: A severity where it asks for a look.
    tone: Severity | None = None


def progress(arm: ArmOut) -> Cell:
    """How many of its cells have succeeded, and what of the others."""
    total, done = sum(arm.cells.values()), arm.cells.get(CellStatus.SUCCEEDED, 0)
    rest = tuple(f"{count} {status}" for status, count in arm.cells.items() if status is not CellStatus.SUCCEEDED)
    reused = (f"{arm.reused} reused",) if arm.reused else ()
    return Cell(text=f"{done} of {total}", notes=rest + reused)


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
    """Steps to the target, and how many of the runs got there."""
    found = arm.steps_to_target
    if found is None:
        return Cell()
    # One of the two is always there.
    shown = f"{found.median:,.0f}" if found.median is not None else f"> {found.at_least or 0:,.0f}"
    lost = (f"{found.diverged} diverged",) if found.diverged else ()
    reached = (f"{found.reached} of {found.n} reached it",) if found.censored else ()
    return Cell(text=shown, notes=_interval(found.ci, partial(number, digits=0)) + reached + lost)


def ratio(compared: Comparison) -> Cell:
    """A speed-up, or its bound, or why there is none."""
    if compared.arm is None:
        return _no_comparison(compared)
    if compared.ratio is not None:
        return Cell(text=f"{number(compared.ratio, 3)}×", notes=_interval(compared.ci, partial(number, digits=3)))
    why = (compared.reason or "",)
    if compared.at_least is not None:
        return Cell(text=f"≥ {number(compared.at_least, 3)}×", notes=why)
    if compared.at_most is not None:
        return Cell(text=f"≤ {number(compared.at_most, 3)}×", notes=why)
    return Cell(notes=why)


def rates(compared: Comparison) -> Cell:
    """The learning rates of a comparison, this side's and the baseline's, and out of how many each was chosen."""
    if compared.arm is None:
        return _no_comparison(compared)
    return Cell(
        text=f"{compared.learning_rate:.4g} vs {compared.baseline_learning_rate:.4g}",
        notes=(f"of {compared.tried} vs {compared.baseline_tried} tried",),
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


def divergence(arm: ArmOut) -> Cell:
    """How many of the runs that ended."""
    found = arm.divergence
    if not found.ended:
        return Cell()
    return Cell(text=f"{found.count} of {found.ended}", tone=Severity.BAD if found.count else None)


def findings(arm: ArmOut) -> Cell:
    """Their codes and in how many runs they are; the worst gives the tone."""
    told = tuple(f"{found.code} × {found.runs}" for found in arm.findings)
    return Cell(text=told[0], notes=told[1:], tone=arm.findings[0].severity) if told else Cell()


def time(arm: ArmOut) -> Cell:
    """Of a run, and the speed of its training."""
    if arm.seconds is None:
        return Cell()
    speed = arm.samples_per_second
    return Cell(text=duration(arm.seconds.median), notes=(f"{speed.median:,.0f} samples/s",) if speed else ())


def duration(seconds: float) -> str:
    """In the greatest unit that there is at least one of, and the next one."""
    left, parts = round(seconds), list[str]()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or f"{seconds:.2g} s"


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
