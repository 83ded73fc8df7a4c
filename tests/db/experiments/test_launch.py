"""Cells become jobs: no more than may be at a time, each once."""

from threading import Thread

import sqlalchemy as sa

from db import jobs
from db.experiments import commands, launch
from db.experiments.tables import ExperimentArm
from db.spec.job import JobSpec
from db.tables import Job
from tests.db.experiments.support import (
    DIVERGED,
    cells_of,
    counts,
    launched,
    post,
    run_all,
    run_next,
)
from tests.db.support import job_of, spec_values


def due(database) -> list[str]:
    with database.read() as session:
        return launch.due(session)


def spec_of(**changes) -> JobSpec:
    values = {"norm": {"name": "none"}, "optimizer": {"name": "SGD", "lr": 0.1}, "seed": 0} | changes
    return JobSpec.model_validate(spec_values(**values))


def test_no_more_jobs_at_a_time_than_declared(database):
    made = post(database, max_parallel=3).experiment
    assert due(database) == [made.id]
    assert len(launched(database, made.id)) == 3
    assert due(database) == [], "no room"
    assert launched(database, made.id) == []
    run_next(database)
    run_next(database, DIVERGED)
    assert len(launched(database, made.id)) == 2


def test_without_a_number_many_are_queued_at_a_time_and_not_all(database):
    made = post(database, seeds=100).experiment
    assert len(launched(database, made.id)) == launch.WINDOW


def test_each_cell_is_one_job_that_tells_where_it_comes_from(database):
    made = post(database, labels={"team": "norms"}, priority=7).experiment
    assert run_all(database, made.id) == 8
    cells = cells_of(database, made.id)
    assert len({cell.job_id for cell in cells}) == 8
    for cell in cells:
        job = job_of(database, cell.job_id)
        assert job.spec_hash == cell.cell_id
        assert (job.labels, job.priority, job.resolved["seed"]) == ({"team": "norms"}, 7, cell.seed)
        assert job.origin["experiment"] == made.id
    assert job_of(database, cells[5].job_id).name == "an experiment: norm none, lr 0.3, seed 1"
    assert due(database) == []


def test_two_launchers_make_no_job_twice(database):
    made = post(database).experiment
    found: list[str] = []

    def work() -> None:
        with database.write() as session:
            if (held := launch.hold(session, made.id)) is not None:
                found.extend(launch.launch(session, held))

    threads = [Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 8


def test_equal_jobs_are_reused_on_request_and_cells_say_so(database):
    with database.write() as session:
        mine = jobs.create(session, spec_of()).id
    run_next(database)
    first = post(database).experiment
    launched(database, first.id)
    assert not any(cell.is_reused for cell in cells_of(database, first.id)), "not asked for"
    run_all(database, first.id)

    second = post(database, name="another", reuse=True, seeds=[0, 1, 2]).experiment
    assert len(launched(database, second.id)) == 4
    cells = cells_of(database, second.id)
    assert [cell.is_reused for cell in cells] == [True] * 8 + [False] * 4
    theirs = {cell.cell_id: cell.job_id for cell in cells_of(database, first.id)}
    assert all(cell.job_id in (theirs[cell.cell_id], mine) for cell in cells[:8])


def test_a_divergence_is_a_result_too(database):
    with database.write() as session:
        jobs.create(session, spec_of())
    run_next(database, DIVERGED)
    made = post(database, reuse=True).experiment
    launched(database, made.id)
    assert counts(database, made.id) == {"queued": 7, "failed": 1}


def test_what_may_still_be_stopped_or_has_begun_elsewhere_is_not_reused(database):
    with database.write() as session:
        fork = {"kind": "fork", "job": "job_x", "checkpoint": "c", "step": 5}
        forked = jobs.create(session, spec_of(), origin=fork).id
    run_next(database)
    with database.write() as session:
        queued = jobs.create(session, spec_of()).id
        cancelled = jobs.create(session, spec_of(seed=1)).id
        commands.commands.cancel(session, cancelled)
    made = post(database, reuse=True).experiment
    launched(database, made.id)
    assert not {cell.job_id for cell in cells_of(database, made.id)} & {forked, queued, cancelled}


def test_a_reused_job_takes_no_room(database):
    with database.write() as session:
        jobs.create(session, spec_of())
    run_next(database)
    made = post(database, reuse=True, max_parallel=1).experiment
    assert len(launched(database, made.id)) == 1
    assert counts(database, made.id) == {"succeeded": 1, "queued": 1, "waiting": 6}


def test_a_cell_that_no_job_can_be_made_of_keeps_none_of_the_others(database):
    made = post(database).experiment
    with database.write() as session:
        session.execute(
            sa.update(ExperimentArm)
            .where(ExperimentArm.experiment_id == made.id, ExperimentArm.number == 1)
            .values(spec={"dataset": {"name": "gone"}})
        )
    assert len(launched(database, made.id)) == 6
    assert counts(database, made.id) == {"queued": 6, "refused": 2}
    refused = [cell.refusal for cell in cells_of(database, made.id) if cell.refusal]
    assert len(refused) == 2
    assert "does not take the spec" in refused[0]


def test_a_deleted_job_leaves_its_cell(database):
    made = post(database, max_parallel=1).experiment
    (job_id,) = launched(database, made.id)
    run_next(database)
    with database.write() as session:
        session.execute(sa.delete(Job).where(Job.id == job_id))
    cell = cells_of(database, made.id)[0]
    assert (cell.job_id, cell.launched_at is None) == (None, False)
