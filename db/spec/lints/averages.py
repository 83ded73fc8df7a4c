"""Lints about running averages."""

from math import ceil, floor

from db.spec.job import JobSpec
from db.spec.lints.base import Severity, SpecWarning
from models.catalog.names import NormName

#: Share of the initial values (mean 0, variance 1) from which on running averages are said to hold too much of
#: them. With momentum 0.1, 0.01 and 0.001 it takes 44, 459 and 4603 updates to get below.
LARGEST_RESIDUE = 0.01


def frozen_from_scratch(spec: JobSpec) -> SpecWarning | None:
    """Frozen statistics that have never been anything but initial."""
    if spec.norm.name != NormName.FROZEN_BATCH:
        return None
    return SpecWarning(
        code="frozen_from_scratch",
        pointer="/norm/name",
        message="The statistics of norm 'frozen_batch' begin as mean 0 and variance 1 and never change: in a "
        "network that is trained from scratch it is the identity.",
    )


def frozen_too_late(spec: JobSpec) -> SpecWarning | None:
    """A job that is over before its norms would freeze."""
    after, steps = getattr(spec.norm, "freeze_after", None), spec.total_steps()
    if after is None or after < steps:
        return None
    return SpecWarning(
        code="frozen_too_late",
        pointer="/norm/freeze_after",
        message=f"The job is over after {steps} steps, before its norms would freeze after {after}: they never "
        f"do. Give fewer than {steps}, or leave freeze_after out.",
    )


def short_averages(spec: JobSpec) -> SpecWarning | None:
    """Running averages that will still hold something of what they began with."""
    steps, momentum = spec.total_steps(), getattr(spec.norm, "momentum", None)
    residue = init_residue(spec, steps)
    if momentum is None or residue <= LARGEST_RESIDUE:
        return None
    larger = momentum_for(updates(spec, steps))
    return SpecWarning(
        code="short_averages",
        pointer="/norm/momentum",
        message=f"With momentum {momentum:g} the running averages will hold {residue:.0%} of their initial mean "
        f"0 and variance 1 at the end of {steps} steps, and eval mode uses them. Take momentum {larger:g} or "
        "more (0.1 is usual), or more steps.",
        severity=Severity.WARN if residue > 10 * LARGEST_RESIDUE else Severity.INFO,
    )


def short_ema(spec: JobSpec) -> SpecWarning | None:
    """Averaged weights that will still be mostly those of the first step."""
    steps = spec.total_steps()
    residue = 1.0 if spec.ema is None else spec.ema.decay ** (steps - 1)
    if spec.ema is None or residue <= LARGEST_RESIDUE:
        return None
    largest = LARGEST_RESIDUE ** (1 / max(1, steps - 1))
    return SpecWarning(
        code="short_ema",
        pointer="/ema/decay",
        message=f"With decay {spec.ema.decay:g} the averaged weights will hold {residue:.0%} of those after the "
        f"first step at the end of {steps} steps. Take decay {floor(1000 * largest) / 1000:g} or less, or more "
        "steps.",
        severity=Severity.WARN if residue > 10 * LARGEST_RESIDUE else Severity.INFO,
    )


def updates(spec: JobSpec, steps: int) -> int:
    """How often the running averages have moved after so many optimizer steps.

    Once for each batch, or for each chunk of it in ghost batch norm; from `freeze_after` on no more.
    """
    moving = min(steps, getattr(spec.norm, "freeze_after", None) or steps)
    return moving * spec.optimizer.accumulate * chunks(spec)


def chunks(spec: JobSpec) -> int:
    """Parts of a batch that are normalized by themselves."""
    return ceil(spec.batch_size / getattr(spec.norm, "size", spec.batch_size))


def init_residue(spec: JobSpec, steps: int) -> float:
    """Share of the initial values that running averages still hold: (1 - momentum) ** updates; 0 without any."""
    momentum = getattr(spec.norm, "momentum", None)
    if momentum is None or not getattr(spec.norm, "track", True):
        return 0.0
    return float((1 - momentum) ** updates(spec, steps))


def momentum_for(count: int) -> float:
    """A momentum with which `count` updates leave less than the largest residue, of two digits."""
    needed = 1 - LARGEST_RESIDUE ** (1 / max(1, count))
    return min(1.0, float(f"{1.05 * needed:.1e}"))
