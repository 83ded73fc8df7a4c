"""A report from an experiment's arms and runs."""

from collections.abc import Sequence

from api.report.arms import arm_out, cells
from api.report.differences import differences
from api.report.evidence import evidence
from api.report.notes import notes
from api.report.schemas import ProgressOut, Report, SelectionOut, TargetOut
from api.report.speed_up import speed_ups
from db.experiments.records import Run, Subject
from db.status import FINAL


def report(subject: Subject) -> Report:
    """What the experiment came to so far.

    The series of its runs hold the selection metric, and the target's where that is another, at full resolution.
    """
    found = evidence(subject)
    configs = differences([arm.resolved for arm in subject.arms])
    compared = speed_ups(subject, found)
    arms = [arm_out(*parts) for parts in zip(found, configs, compared, strict=True)]
    selection, target = subject.selection, subject.target
    return Report(
        id=subject.id,
        name=subject.name,
        status=subject.status,
        summary=None if subject.summary is None else dict(subject.summary),
        target=None if target is None else TargetOut.model_validate(target),
        selection=SelectionOut(
            metric=selection.metric,
            greater_is_better=selection.greater_is_better,
            selects_on_test=selection.is_on_test,
        ),
        progress=ProgressOut(
            cells=cells(subject.runs), share=_share(subject.runs), eta_seconds=subject.eta_seconds
        ),
        arms=arms,
        notes=notes(subject, arms),
    )


def _share(runs: Sequence[Run]) -> float:
    """Of all steps, those that are done or will not be made any more."""
    longest = max((run.steps for run in runs), default=0)
    # The length of a cell without a job is not in its run.
    total = sum(run.steps or longest for run in runs)
    done = sum((run.steps or longest) if run.status in FINAL else run.step for run in runs)
    return done / total if total else 0.0
