"""How an attempt ends: by its last step, by an order, by a fault."""

import pytest
import sqlalchemy as sa
import torch

from db import checkpoints, commands
from db.base import now
from db.settings import WorkerSettings
from db.status import FailureCode, Status
from db.tables import Job
from tests.db.support import change_job, claim, claimed_job, job_of
from worker.run import explain, run_attempt
from worker.stop import Stop

STEPS = 20


class Orders:
    """Gives an order after it has been asked so many times; a trainer asks once before each step."""

    def __init__(self, stop: Stop | None = None, after: int = 0) -> None:
        self._stop, self._left = stop, after

    @property
    def stop(self) -> Stop | None:
        self._left -= 1
        return self._stop if self._left < 0 else None


@pytest.fixture
def settings(database, tmp_path):
    return WorkerSettings(home=tmp_path, database_url=database.url.render_as_string(hide_password=False))


def ended(database, settings, orders, asked=None, **changes):
    """The job after one attempt; `asked` is the command of a client that the orders come from."""
    hold = claimed_job(database)
    values = job_of(database, hold.job_id).resolved | {"steps": STEPS} | changes
    change_job(database, hold.job_id, resolved=values, steps=STEPS)
    if asked is not None:
        with database.write() as session:
            asked(session, hold.job_id)
    run_attempt(settings, hold, orders)
    return job_of(database, hold.job_id)


@pytest.mark.parametrize(("stop", "asked"), [(None, None), (Stop.PAUSE, commands.pause), (Stop.RELEASE, None)])
def test_an_order_after_the_last_step_comes_too_late(database, settings, stop, asked):
    job = ended(database, settings, Orders(stop, after=STEPS), asked)
    assert (job.status, job.step, job.reason) == (Status.SUCCEEDED, STEPS, "completed")


def test_a_cancel_in_the_last_evaluation_still_ends_the_job(database, settings):
    job = ended(database, settings, Orders(Stop.CANCEL, after=STEPS), commands.cancel, evaluate={"every": STEPS})
    assert (job.status, job.step) == (Status.CANCELLED, STEPS)
    assert job.latest["train/loss"]["step"] == STEPS
    assert "test/loss" not in job.latest


STOPS = {
    Stop.CANCEL: (Status.CANCELLED, commands.cancel),
    Stop.PAUSE: (Status.PAUSED, commands.pause),
    Stop.RELEASE: (Status.QUEUED, None),
    Stop.MAX_RUNTIME: (Status.FAILED, None),
}


@pytest.mark.parametrize("stop", STOPS)
def test_an_order_before_the_last_step_is_followed(database, settings, stop):
    status, asked = STOPS[stop]
    job = ended(database, settings, Orders(stop, after=5), asked, evaluate={"every": STEPS})
    assert (job.status, job.step) == (status, 5)
    assert job.latest["train/loss"]["step"] == 5
    with database.read() as session:
        saved = [each.step for each in checkpoints.list_for(session, job.id)]
    assert saved == ([] if stop is Stop.CANCEL else [5])
    assert (job.failure_code is FailureCode.MAX_RUNTIME) == (stop is Stop.MAX_RUNTIME)


def test_a_job_that_stops_early_says_so(database, settings):
    stopping = {"metric": "test/loss", "patience": None, "target": 100.0, "min_delta": 0.0}
    job = ended(database, settings, Orders(), early_stopping=stopping, evaluate={"every": 5})
    assert (job.status, job.step, job.reason) == (Status.SUCCEEDED, 5, "early_stopped")
    with database.read() as session:
        assert [each.step for each in checkpoints.list_for(session, job.id)] == [5]


def test_a_spec_that_is_no_longer_taken_fails_the_job_as_such(database, settings):
    job = ended(database, settings, Orders(), norm={"name": "forgotten"})
    assert (job.status, job.failure_code) == (Status.FAILED, FailureCode.INVALID_SPEC)


def test_a_fault_of_the_service_is_tried_again_and_shows_nothing_of_the_inside(database, settings):
    (settings.home / "store").write_text("a file where the store's folder should be")
    job = ended(database, settings, Orders())
    assert (job.status, job.reason, job.lost_attempts) == (Status.QUEUED, "internal_error", 1)
    for _ in range(2):
        change_job(database, job.id, run_at=now())
        run_attempt(settings, claim(database), Orders())
    job = job_of(database, job.id)
    assert (job.status, job.failure_code, job.attempt) == (Status.FAILED, FailureCode.INTERNAL_ERROR, 3)
    assert str(settings.home) not in f"{job.failure_message} {job.failure_hint}"


def test_a_superseded_attempt_writes_nothing(database, settings):
    hold = claimed_job(database)
    with database.write() as session:
        session.execute(sa.update(Job).values(attempt=hold.attempt + 1))
    run_attempt(settings, hold, Orders())
    assert job_of(database, hold.job_id).status is Status.STARTING


def test_a_lack_of_memory_is_told_from_a_fault_on_the_cpu_too():
    with pytest.raises(RuntimeError) as lack:
        torch.empty(2**50)
    assert explain(lack.value).code is FailureCode.OUT_OF_MEMORY
    assert explain(RuntimeError("mat1 and mat2 shapes cannot be multiplied")).code is FailureCode.INTERNAL_ERROR
