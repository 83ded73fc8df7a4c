"""A commit that arrives while its answer does not: nothing that a row names is deleted, nothing is done twice."""

from contextlib import contextmanager

import pytest
import sqlalchemy as sa
import torch
from sqlalchemy.exc import OperationalError

from db import checkpoints, jobs, lease, leftovers, origins, recovery
from db.base import now
from db.engine import Database
from db.errors import AttemptSuperseded, StorageFailed
from db.ids import new_id
from db.lease import Hold
from db.recovery import Retries
from db.store import Store
from db.tables import Attempt, Job
from tests.db.support import change_job, claim, events_of, job_of, make_spec, running_job
from worker import patience
from worker.errors import DataError
from worker.resume import find_start
from worker.saver import Saver
from worker.snapshot import Snapshot

PATIENCE = 1.0


class LostAnswer(Database):
    """The database of another one's address whose first commit arrives without an answer."""

    def __init__(self, database: Database, meanwhile=lambda: None) -> None:
        super().__init__(database.url.render_as_string(hide_password=False))
        self._meanwhile = meanwhile
        self._loses = True

    @contextmanager
    def write(self):
        with super().write() as session:
            yield session
        if self._loses:
            self._loses = False
            self._meanwhile()
            raise OperationalError("COMMIT", {}, Exception("the connection was lost"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(patience, "TRY_EVERY", 0.01)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store((tmp_path / "store").as_uri())


def state(step: int) -> Snapshot:
    return Snapshot(step=step, weights={"w": torch.zeros(3)}, state={"a": 1}, required=False)


def save(database: Database, store: Store, hold: Hold, step: int, **checkpoint) -> None:
    spec = make_spec(checkpoint={"every": 1, **checkpoint})
    Saver(database, store, hold, spec, PATIENCE).save(state(step), {}, {})


def files_of(database: Database, hold: Hold) -> list[str]:
    with database.read() as session:
        return checkpoints.keys_of_job(session, hold.job_id)


def test_a_checkpoint_whose_commit_was_not_answered_is_one_checkpoint(database, store):
    hold = running_job(database)
    save(LostAnswer(database), store, hold, 5)
    with database.read() as session:
        assert [each.step for each in checkpoints.list_for(session, hold.job_id)] == [5]
    assert [kind for _, kind, _ in events_of(database, hold.job_id)].count("checkpoint") == 1


def test_the_files_of_a_committed_checkpoint_stay_when_the_job_is_taken_back_before_the_answer(database, store):
    hold = running_job(database)

    def take_back() -> None:
        change_job(database, hold.job_id, lease_expires=now(-1))
        with database.write() as session:
            recovery.sweep(session, Retries())

    with pytest.raises(AttemptSuperseded):
        save(LostAnswer(database, take_back), store, hold, 5)
    assert files_of(database, hold)
    assert all(store.size(key) for key in files_of(database, hold))


def test_files_of_a_refused_checkpoint_are_removed(database, store, tmp_path):
    hold = running_job(database)
    with database.write() as session:
        lease.release(session, hold)
    with pytest.raises(AttemptSuperseded):
        save(database, store, hold, 5)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_leftovers_that_cannot_be_asked_for_stay(store, tmp_path, caplog):
    store.put("jobs/a/file", b"data")
    away = Database(f"sqlite:///{tmp_path / 'empty.db'}")  # without a table
    leftovers.remove(away, store, ["jobs/a/file"])
    assert store.get("jobs/a/file") == b"data"
    assert "left to the sweep" in caplog.text


class NoDelete(Store):
    """As with rights to write but none to delete."""

    def delete(self, keys) -> None:
        raise StorageFailed("AccessDenied")


def test_a_store_that_deletes_nothing_does_not_stop_a_run(database, tmp_path):
    hold = running_job(database)
    for step in (1, 2, 3):
        save(database, NoDelete((tmp_path / "store").as_uri()), hold, step, keep_last=1, keep_best=0)
    with database.read() as session:
        assert [each.step for each in checkpoints.list_for(session, hold.job_id)] == [3]


def fork_of(database: Database, store: Store, hold: Hold) -> Hold:
    with database.read() as session:
        origin = origins.of_fork(session, jobs.get(session, hold.job_id), "last")
    job_id = new_id("job")
    origin = origins.copied(origin, store, job_id)
    with database.write() as session:
        origins.create(session, job_id, make_spec(steps=2000), origin)
    change_job(database, job_id, priority=9)
    return claim(database)


def test_a_fork_whose_checkpoint_is_damaged_fails_and_does_not_begin_at_the_beginning(database, store):
    hold = running_job(database)
    save(database, store, hold, 500)
    fork = fork_of(database, store, hold)
    with database.read() as session:
        (own,) = checkpoints.list_for(session, fork.job_id)
    store.put(own.state_key, b"something else")
    with pytest.raises(DataError, match="begins with is damaged"):
        find_start(database, store, fork)
    assert job_of(database, fork.job_id).step == 500


def test_a_store_that_has_no_file_of_any_checkpoint_is_waited_for(database, store):
    hold = running_job(database)
    for step in (1, 2):
        save(database, store, hold, step)
    kept = {key: store.get(key) for key in files_of(database, hold)}
    store.delete(list(kept))
    with pytest.raises(StorageFailed):
        find_start(database, store, hold)
    for key, data in kept.items():
        store.put(key, data)
    checkpoint, _ = find_start(database, store, hold)
    assert (checkpoint.step, checkpoint.damaged_at) == (2, None)


def test_time_without_a_worker_is_no_runtime(database):
    hold = running_job(database)
    with database.write() as session:  # ten minutes of work, then two days of a power cut
        session.execute(sa.update(Attempt).values(started_at=now(-2 * 86400 - 600)))
        session.execute(sa.update(Job).values(lease_expires=now(-2 * 86400)))
    with database.write() as session:
        recovery.sweep(session, Retries(backoff_seconds=0))
    assert job_of(database, hold.job_id).spent_seconds == pytest.approx(600, abs=5)
    with database.read() as session:
        assert lease.runtime_left(session, claim(database)) == pytest.approx(86400 - 600, abs=5)


def test_where_an_attempt_starts_is_told_once(database, store):
    hold = running_job(database)
    save(database, store, hold, 5)
    find_start(LostAnswer(database), store, hold)
    assert [kind for _, kind, _ in events_of(database, hold.job_id)].count("resumed") == 1
