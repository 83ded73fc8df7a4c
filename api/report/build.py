"""A report from an experiment's arms and runs."""

from api.report.arms import arm_out
from api.report.differences import differences
from api.report.evidence import evidence
from api.report.notes import notes
from api.report.schemas import ProvenanceOut, Report, SelectionOut, TargetOut
from api.report.search import search_out
from api.report.speed_up import speed_ups
from api.schemas.experiments import ExperimentProgressOut
from db.experiments.records import Subject


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
        status=subject.progress.status,
        summary=None if subject.summary is None else dict(subject.summary),
        target=None if target is None else TargetOut.model_validate(target),
        selection=SelectionOut(
            metric=selection.metric,
            greater_is_better=selection.greater_is_better,
            selects_on_test=selection.is_on_test,
        ),
        search=search_out(subject, found),
        progress=ExperimentProgressOut.model_validate(subject.progress),
        provenance=_provenance(subject),
        arms=arms,
        notes=notes(subject, arms),
    )


def _provenance(subject: Subject) -> ProvenanceOut:
    seconds = [run.seconds for run in subject.runs if run.seconds is not None]
    address = f"/v1/experiments/{subject.id}/report?format="
    return ProvenanceOut(
        seeds=sorted({run.seed for run in subject.runs}),
        ended=len(seconds),
        seconds=sum(seconds),
        finished_at=subject.progress.finished_at,
        json_address=f"{address}json",
        csv_address=f"{address}csv",
    )
