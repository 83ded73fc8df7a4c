"""States that wait to be saved: few, however slow the store and the database are."""

import threading
from itertools import count

import pytest

from db import checkpoints
from db.errors import AttemptSuperseded
from db.store import Store
from tests.db.support import claim, claimed_job, new_job, superseded_job
from tests.services import wait_for
from tests.worker.comparing import assert_same
from tests.worker.support import Kept, make_run, trained
from tests.worker.test_reporter import reporter_of, snapshot
from worker import reporter as reporting
from worker.stop import Stop
from worker.trainer import train


@pytest.fixture
def store(tmp_path) -> Store:
    return Store((tmp_path / "store").as_uri())


class Busy(Kept):
    """Has room for nothing but what is needed."""

    def takes_checkpoint(self, *, needed: bool = False) -> bool:
        self.calls.append("takes")
        return needed


def test_what_is_due_is_left_out_where_there_is_no_room_and_what_is_needed_is_not(digits):
    run, reporter = make_run(digits, checkpoint={"every": 3, "keep_best": 1}, evaluate={"every": 10}), Busy()
    assert train(run, reporter, lambda: None) is None
    steps = [snapshot.step for snapshot in reporter.snapshots]
    assert steps[0] == 10
    assert steps[-1] == 50
    assert set(steps) <= {10, 20, 30, 40, 50}
    assert reporter.calls.count("takes") > 16 >= len(steps)
    assert_same(trained(digits)[1].snapshots[-1].weights, reporter.snapshots[-1].weights)


def test_a_stop_saves_what_was_left_out_before(digits):
    run, reporter, asked = make_run(digits, checkpoint={"every": 10}), Busy(), count()
    assert train(run, reporter, lambda: Stop.RELEASE if next(asked) == 20 else None) is Stop.RELEASE
    assert [snapshot.step for snapshot in reporter.snapshots] == [20]


def test_one_state_at_most_waits_for_a_slow_database(database, store, monkeypatch):
    monkeypatch.setattr(reporting, "ROOM_WITHIN", 0.05)
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    needed = threading.Thread(target=reporter.takes_checkpoint, kwargs={"needed": True})
    with database.write() as session:
        session.connection()  # nobody else may write from now on
        assert reporter.takes_checkpoint()
        reporter.checkpoint(snapshot(1))
        wait_for(reporter.takes_checkpoint)  # as soon as the first is being saved
        reporter.checkpoint(snapshot(2))
        assert not reporter.takes_checkpoint()
        needed.start()
        needed.join(0.1)
        assert needed.is_alive()
    needed.join(30)
    assert not needed.is_alive()
    reporter.close()
    with database.read() as session:
        assert [each.step for each in checkpoints.list_for(session, hold.job_id)] == [2, 1]


def test_a_run_that_is_faster_than_its_database_leaves_checkpoints_out(database, store, digits, monkeypatch):
    monkeypatch.setattr(reporting, "ROOM_WITHIN", 0.0)
    changes = {"steps": 50, "checkpoint": {"every": 1, "keep_last": 50}, "device": "cpu"}
    job_id = new_job(database, **changes)
    reporter = reporter_of(database, store, claim(database))
    run, made, trained = make_run(digits, **changes), count(1), threading.Event()
    run.optimizer.register_step_post_hook(lambda *_: trained.set() if next(made) == 50 else None)
    training = threading.Thread(target=train, args=(run, reporter, lambda: None))
    with database.write() as session:
        session.connection()
        training.start()
        assert trained.wait(30)
    training.join(30)
    reporter.close()
    with database.read() as session:
        steps = [each.step for each in checkpoints.list_for(session, job_id)]
    assert steps[0] == 50
    assert len(steps) <= 3


def test_there_is_always_room_in_a_reporter_that_has_stopped(database, store):
    stale, _ = superseded_job(database)
    reporter = reporter_of(database, store, stale)
    reporter.progress(5, 1, 1.0)
    assert reporter.stopped.wait(timeout=30)
    for step in (1, 2):
        assert reporter.takes_checkpoint(needed=True)
        reporter.checkpoint(snapshot(step))
    with pytest.raises(AttemptSuperseded):
        reporter.close()
