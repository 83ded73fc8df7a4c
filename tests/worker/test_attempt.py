"""How an attempt ends: by its last step, by an order, by a fault."""

import pytest
import sqlalchemy as sa
import torch

from db.settings import WorkerSettings
from db.status import FailureCode, Status
from db.tables import Job
from tests.db.support import change_job, claimed_job, job_of
from worker.child import Stop
from worker.run import explain, run_attempt

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


def ended(database, settings, orders, **changes):
    hold = claimed_job(database)
    values = job_of(database, hold.job_id).resolved | {"steps": STEPS} | changes
    change_job(database, hold.job_id, resolved=values, steps=STEPS)
    run_attempt(settings, hold, orders)
    return job_of(database, hold.job_id)


@pytest.mark.parametrize("stop", [None, Stop.CANCEL, Stop.RELEASE])
def test_an_order_after_the_last_step_comes_too_late(database, settings, stop):
    job = ended(database, settings, Orders(stop, after=STEPS))
    assert (job.status, job.step) == (Status.SUCCEEDED, STEPS)


@pytest.mark.parametrize(("stop", "status"), [(Stop.CANCEL, Status.CANCELLED), (Stop.RELEASE, Status.QUEUED)])
def test_an_order_before_the_last_step_is_followed(database, settings, stop, status):
    job = ended(database, settings, Orders(stop, after=5))
    assert (job.status, job.step) == (status, 5)
    assert job.latest["train/loss"]["step"] == 5


def test_a_spec_that_is_no_longer_taken_fails_the_job_as_such(database, settings):
    job = ended(database, settings, Orders(), norm={"name": "forgotten"})
    assert (job.status, job.failure_code) == (Status.FAILED, FailureCode.INVALID_SPEC)


def test_a_fault_of_the_service_shows_nothing_of_the_inside(database, settings):
    (settings.home / "store").write_text("a file where the store's folder should be")
    job = ended(database, settings, Orders())
    assert job.failure_code is FailureCode.INTERNAL_ERROR
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
