"""Which checkpoints stay, and which files of the store are in use."""

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from db import checkpoints, commands, lease, orphans, recalibrations
from db.base import now
from db.errors import NoModelYet
from db.lease import Failure, Hold
from db.spec.recalibration import Recalibration
from db.status import FailureCode
from db.tables import Artifact, Attempt, Checkpoint, Job
from tests.db.support import claim, commit, contents, job_of, properties, running_job, state_of, stored

FAILURE = Failure(code=FailureCode.DIVERGED, message="m", hint="h")


def prune(database, hold: Hold, keep_last: int, keep_best: int) -> list[str]:
    with database.write() as session:
        return checkpoints.prune(session, hold, keep_last, keep_best)


def kept(database, hold: Hold) -> list[int]:
    with database.read() as session:
        return sorted(each.step for each in checkpoints.list_for(session, hold.job_id))


def scored_job(database, *scores: float | None) -> Hold:
    """A job with a checkpoint at step 1, 2, ... of each score."""
    hold = running_job(database)
    for step, score in enumerate(scores, 1):
        commit(database, hold, step, score)
    return hold


def damage(database, hold: Hold, step: int) -> None:
    with database.write() as session:
        query = sa.select(Checkpoint.id).where(Checkpoint.job_id == hold.job_id, Checkpoint.step == step)
        checkpoints.mark_damaged(session, hold, session.scalars(query).one(), step, "why")


@pytest.mark.parametrize(
    ("scores", "keep_last", "keep_best", "expected"),
    [
        ([0.9, 0.1, 0.5, 0.2], 1, 1, [1, 4]),
        ([0.9, 0.1, 0.5, 0.2], 1, 2, [1, 3, 4]),
        ([0.9, 0.1, 0.5, 0.2], 2, 0, [3, 4]),
        ([0.1, 0.2, 0.3, 0.9], 1, 1, [4]),
        ([0.5, 0.9, 0.9, 0.1], 1, 1, [2, 4]),
        ([None, None, 0.1, None], 1, 2, [3, 4]),
        ([None, None], 1, 1, [2]),
        ([-0.5, -0.1, -0.9], 1, 1, [2, 3]),
        ([0.9, 0.1], 9, 9, [1, 2]),
    ],
)
def test_the_newest_and_the_best_stay(database, scores, keep_last, keep_best, expected):
    hold = scored_job(database, *scores)
    prune(database, hold, keep_last, keep_best)
    assert kept(database, hold) == expected


def test_a_damaged_checkpoint_takes_no_whole_ones_place_and_goes(database):
    hold = scored_job(database, 0.5, 0.9, 0.1)
    damage(database, hold, 2)
    damage(database, hold, 3)
    prune(database, hold, 1, 1)
    assert kept(database, hold) == [1]


def test_what_a_fork_began_with_stays_and_counts_as_any_other(database):
    hold = running_job(database)
    with database.write() as session:
        session.add(Attempt(job_id=hold.job_id, number=0, worker="fork", start_step=0, started_at=now()))
        session.flush()
        checkpoints.add(
            session, Hold(job_id=hold.job_id, attempt=0), state_of(Hold(job_id=hold.job_id, attempt=0), 5)
        )
    for step in (6, 7):
        commit(database, hold, step)
    prune(database, hold, 1, 0)
    assert kept(database, hold) == [5, 7]


def test_a_later_attempts_checkpoint_is_newer_than_a_further_step_of_an_earlier_one(database):
    first = scored_job(database, None, None, None)
    with database.write() as session:
        lease.release(session, first)
    second = claim(database)
    commit(database, second, 2)
    prune(database, second, 1, 0)
    with database.read() as session:
        assert [(each.attempt, each.step) for each in checkpoints.list_for(session, first.job_id)] == [(2, 2)]


@properties
@given(
    st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5]), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_what_stays_is_as_good_and_as_new_as_what_goes(database, scores, keep_last, keep_best):
    hold = scored_job(database, *scores)
    keys = prune(database, hold, keep_last, keep_best)
    left = kept(database, hold)
    assert left[-1] == len(scores)
    gone = sorted(set(range(1, len(scores) + 1)) - set(left))
    assert all(step <= len(scores) - keep_last for step in gone)
    by_score = {step: score for step, score in enumerate(scores, 1) if score is not None}
    better = [
        sum(by_score[other] >= by_score[step] for other in left if other in by_score)
        for step in gone
        if step in by_score
    ]
    assert all(count >= keep_best for count in better)
    assert {key.split("/")[3] for key in keys} == {f"step-{step}" for step in gone}
    assert len(keys) == 3 * len(gone), "the state, the model, its configuration"


def test_the_best_checkpoint_is_the_same_for_readers_and_for_pruning(database):
    hold = scored_job(database, 0.1, 0.7, 0.7, 0.2)
    with database.read() as session:
        job = job_of(database, hold.job_id)
        assert checkpoints.choose(session, job, "best").step == 2
        assert checkpoints.choose(session, job, "last").step == 4
        assert checkpoints.choose(session, job, "3").step == 3
        assert checkpoints.model(session, job, "safetensors", which="best").step == 2


def test_a_deleted_job_names_all_its_files_and_leaves_no_row(database):
    hold = scored_job(database, 0.5, 0.1)
    other = scored_job(database, 0.5)
    with database.write() as session:
        lease.succeed(session, hold)
        original = checkpoints.model(session, session.get_one(Job, hold.job_id), "safetensors")
        values = {"attempt": 0, "lost_attempts": 0, "created_at": now(), "request": {}, "format": "safetensors"}
        values |= {"job_id": hold.job_id, "checkpoint_id": original.checkpoint_id, "source": "recalibration"}
        values |= {"media_type": "m", "step": 2}
        pending = {"id": "art_p", "filename": "p", "status": "pending", "inputs_key": "inputs/in.npy"}
        made = stored("recalibrations/r")
        ready = {"id": "art_r", "filename": "r", "status": "ready"}
        ready |= {"store_key": made.key, "sha256": made.sha256, "size_bytes": made.size_bytes}
        session.execute(sa.insert(Artifact).values(values | pending))
        session.execute(sa.insert(Artifact).values(values | ready))
    everything = {"inputs/in.npy", "recalibrations/r"} | {
        f"jobs/{hold.job_id}/attempt-1/step-{step}/{file}"
        for step in (1, 2)
        for file in ("state.pt", "model.safetensors", "config.json")
    }
    unknown = [
        f"jobs/{hold.job_id}/attempt-1/step-9/state.pt",
        "jobs/x",
        "jobs/job_none/a",
        "inputs/no",
        "checks/a",
    ]
    with database.read() as session:
        assert orphans.named(session, [*everything, *unknown]) == everything
    with database.write() as session:
        assert set(commands.delete(session, hold.job_id)) == everything
    assert not any(hold.job_id in repr(rows) for rows in contents(database).values())
    assert kept(database, other) == [1]
    with database.read() as session:
        assert orphans.named(session, [*everything]) == set()


def test_a_checkpoint_that_a_client_has_had_recalibrated_stays(database):
    hold = scored_job(database, None)
    with database.write() as session:
        lease.fail(session, hold, FAILURE)
    with database.write() as session:
        recalibrations.create(session, hold.job_id, Recalibration())
    with database.write() as session:
        commands.retry(session, hold.job_id)
    again = claim(database)
    for step in (5, 6, 7):
        commit(database, again, step)
    prune(database, again, 1, 0)
    assert kept(database, again) == [1, 7]


def test_checkpoints_of_an_older_version_have_a_model_but_nothing_to_go_on_from(database):
    hold = scored_job(database, None, None)
    with database.write() as session:
        session.execute(sa.update(Checkpoint).values(is_resumable=False))
    with database.read() as session:
        job = session.get_one(Job, hold.job_id)
        assert checkpoints.resumable(session, hold.job_id) == []
        assert checkpoints.choose(session, job).step == 2
        with pytest.raises(NoModelYet):
            checkpoints.choose(session, job, to_go_on=True)
