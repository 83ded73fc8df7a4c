"""The end of an attempt, written together with its diagnosis; free of torch."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from db import events, jobs, recovery
from db.engine import Database
from db.events import EventType
from db.lease import Failure, Hold
from db.recovery import Retries
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Diagnosis
from worker.diagnosis.hints import better_hint
from worker.diagnosis.load import evidence

log = logging.getLogger(__name__)

#: Writes how an attempt ended.
End = Callable[[Session, Hold], None]


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What the timeline says of a diagnosis, and the better advice on a failure, if there is any."""

    event: dict[str, Any]
    hint: str | None = None


def with_diagnosis(database: Database, hold: Hold, outcome: End | Failure, retries: Retries) -> End:
    """Writes the outcome of the job of `hold` with what its diagnosis is, unless the job is to be tried again.

    A failure gets the diagnosis's advice where that knows more. No fault of the diagnosis keeps the job from
    ending: then the timeline says that there is none.
    """
    failure = outcome if isinstance(outcome, Failure) else None
    told = _tell(database, hold, failure)

    def write(session: Session, hold: Hold) -> None:
        if failure is None or not recovery.is_tried_again(session, hold, failure, retries):
            events.add(session, hold.job_id, hold.attempt, EventType.DIAGNOSIS, **told.event)
        if isinstance(outcome, Failure):
            advised = replace(outcome, hint=told.hint or outcome.hint)
            recovery.give_up_or_retry(session, hold, advised, retries)
        else:
            outcome(session, hold)

    return write


def _tell(database: Database, hold: Hold, failure: Failure | None) -> _Told:
    try:
        with database.read() as session:
            found = evidence(session, jobs.get(session, hold.job_id))
        found = _at_its_end(found, failure)
        diagnosis = diagnose(found)
        return _Told(event=_event(diagnosis), hint=better_hint(found, diagnosis))
    except Exception:  # the job has its end whatever is wrong here
        log.exception("The diagnosis of job %s failed.", hold.job_id)
        summary = "There is no diagnosis: making it failed, and the worker's log says why."
        return _Told(event={"findings": [], "summary": summary})


def _at_its_end(found: Evidence, failure: Failure | None) -> Evidence:
    step = max(found.step, (failure.step or 0) if failure else 0)
    return replace(found, final=True, failure=failure, step=step)


def _event(diagnosis: Diagnosis) -> dict[str, Any]:
    findings = [{"code": finding.code, "severity": finding.severity.value} for finding in diagnosis.findings]
    return {"findings": findings, "summary": diagnosis.summary}
