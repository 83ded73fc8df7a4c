"""The law of transitions: the database takes what the table of the code allows, and no function breaks it."""

import itertools
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from db import commands, lease, recovery
from db.base import now
from db.errors import AttemptSuperseded, TransitionRefused
from db.lease import Failure, Hold
from db.recovery import Retries
from db.status import FINAL, LIVE, TRANSITIONS, FailureCode, Status, sources
from db.tables import Job
from tests.db.support import claim, contents, job_of, new_job

FAILURE = Failure(code=FailureCode.DIVERGED, message="m", hint="h", step=1)
LOST = recovery.lost("gone")


def request(session, hold: Hold, command) -> None:
    command(session, hold.job_id)


def cancel(session, hold: Hold) -> None:
    request(session, hold, commands.cancel)


def pause(session, hold: Hold) -> None:
    request(session, hold, commands.pause)


#: How a claimed job gets into each status.
WAYS: dict[Status, list[Any]] = {
    Status.STARTING: [],
    Status.RUNNING: [lease.begin],
    Status.QUEUED: [lease.release],
    Status.PAUSING: [lease.begin, pause],
    Status.PAUSED: [lease.begin, pause, lease.paused],
    Status.CANCELLING: [lease.begin, cancel],
    Status.CANCELLED: [lease.begin, cancel, lease.cancelled],
    Status.SUCCEEDED: [lease.begin, lease.succeed],
    Status.FAILED: [lease.begin, lambda session, hold: lease.fail(session, hold, FAILURE)],
}
statuses = pytest.mark.parametrize("status", list(Status))


def job_in(database, status: Status) -> Hold:
    """The hold that the job was last given."""
    new_job(database)
    hold = claim(database)
    for step in WAYS[status]:
        with database.write() as session:
            step(session, hold)
    assert job_of(database, hold.job_id).status is status
    return hold


def columns(status: Status) -> dict[str, Any]:
    """What belongs to a status besides, so that the transition alone can be at fault."""
    failed = status is Status.FAILED
    return {
        "status": status,
        "lease_expires": now(60.0) if status in LIVE else None,
        "finished_at": now() if status in FINAL else None,
        "failure_code": FailureCode.DIVERGED if failed else None,
        "failure_message": "m" if failed else None,
    }


def update(database, hold: Hold, **values: Any) -> bool:
    try:
        with database.write() as session:
            session.execute(sa.update(Job).where(Job.id == hold.job_id).values(**values))
    except IntegrityError:
        return False
    return True


@statuses
def test_the_database_takes_exactly_the_transitions_of_the_table(database, status):
    taken = set()
    for to in Status:
        hold = job_in(database, status)
        if update(database, hold, **columns(to)):
            taken.add(to)
        with database.write() as session:
            session.execute(sa.delete(Job))
    assert taken == {*TRANSITIONS[status], status}, "to stay is no transition"


@statuses
def test_an_attempt_number_never_goes_back(database, status):
    hold = job_in(database, status)
    assert not update(database, hold, attempt=0)
    assert update(database, hold, attempt=1)
    assert update(database, hold, attempt=2)
    assert not update(database, hold, attempt=1)


def claim_next(session, hold: Hold) -> None:
    lease.claim(session, "worker", 60.0)


ACTIONS: dict[str, Any] = {
    "claim": claim_next,
    "start_from": lambda session, hold: lease.start_from(session, hold, 3, 0),
    "begin": lease.begin,
    "beat": lambda session, hold: lease.beat(session, hold, 60.0),
    "succeed": lease.succeed,
    "cancelled": lease.cancelled,
    "paused": lease.paused,
    "fail": lambda session, hold: lease.fail(session, hold, FAILURE),
    "release": lease.release,
    "requeue": lambda session, hold: lease.requeue(session, hold, "why"),
    "retry later": lambda session, hold: recovery.give_up_or_retry(session, hold, LOST, Retries()),
    "give up": lambda session, hold: recovery.give_up_or_retry(session, hold, LOST, Retries(max_attempts=1)),
    "fail at once": lambda session, hold: recovery.give_up_or_retry(session, hold, FAILURE, Retries()),
    "sweep": lambda session, hold: recovery.sweep(session, Retries()),
    "command cancel": cancel,
    "command pause": pause,
    "command resume": partial(request, command=commands.resume),
    "command retry": partial(request, command=commands.retry),
    "command change": lambda session, hold: commands.change(session, hold.job_id, priority=1),
    "command delete": partial(request, command=commands.delete),
}
#: Where each leads; what is not here leads nowhere, from any status.
TARGETS: dict[str, set[Status]] = {
    "claim": {Status.STARTING},
    "begin": {Status.RUNNING},
    "succeed": {Status.SUCCEEDED},
    "cancelled": {Status.CANCELLED},
    "paused": {Status.PAUSED},
    "fail": {Status.FAILED},
    "fail at once": {Status.FAILED},
    "release": {Status.QUEUED, Status.PAUSED, Status.CANCELLED},
    "requeue": {Status.QUEUED},
    "retry later": {Status.QUEUED, Status.PAUSED, Status.CANCELLED},
    "give up": {Status.FAILED, Status.PAUSED, Status.CANCELLED},
    "command cancel": {Status.CANCELLING, Status.CANCELLED},
    "command pause": {Status.PAUSING},
    "command resume": {Status.QUEUED},
    "command retry": {Status.QUEUED},
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_function_makes_its_legal_moves_and_else_refuses_without_a_change(database, action):
    reached = set()
    for status in Status:
        hold = job_in(database, status)
        before = contents(database)
        try:
            with database.write() as session:
                ACTIONS[action](session, hold)
        except (AttemptSuperseded, TransitionRefused):
            assert contents(database) == before
        else:
            with database.read() as session:
                after = session.scalar(sa.select(Job.status))
            assert after in (status, *TRANSITIONS[status], None)
            assert (after is None) <= (action == "command delete" and status in FINAL)
            reached |= {after} - {status, None}
        with database.write() as session:
            session.execute(sa.delete(Job))
    assert reached == TARGETS.get(action, set())


def test_the_table_of_transitions_is_whole():
    assert set(TRANSITIONS) == set(Status)
    assert TRANSITIONS[Status.SUCCEEDED] == ()
    assert all(status not in targets for status, targets in TRANSITIONS.items())
    pairs = {(source, to) for to in Status for source in sources(to)}
    assert pairs == {(source, to) for source, targets in TRANSITIONS.items() for to in targets}
    assert set(itertools.chain(*TRANSITIONS.values())) == set(Status)
