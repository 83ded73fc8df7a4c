"""What a report is made of, read at once."""

import numpy as np
import pytest
from sqlalchemy import delete, select

from db import events, lease
from db.chunks import METRICS, ChunkWriter, write
from db.errors import InvalidCursor
from db.events import EventType
from db.experiments import commands, reading
from db.experiments.series import EVALUATION, evaluations
from db.experiments.status import CellStatus
from db.frames import Frame
from db.metrics import MetricsQuery, read
from db.tables import Job
from tests.db.experiments.support import DIVERGED, cells_of, launched, post, run_all, run_next
from tests.db.support import claim, new_job


def add_evaluations(database, hold, steps, **columns) -> None:
    names = tuple(name.replace("__", "/") for name in columns)
    frame = Frame(
        columns=tuple((name, 1) for name in names),
        steps=np.array(steps, dtype=np.int64),
        values=np.array(list(columns.values()), dtype=np.float64).T,
    )
    writer = ChunkWriter(hold, METRICS, EVALUATION, 2)
    writer.add(frame)
    with database.write() as session:
        write(session, [writer])


def begin(database, start: int = 0):
    hold = claim(database)
    with database.write() as session:
        lease.start_from(session, hold, start, 0)
        lease.begin(session, hold)
    return hold


def test_series_of_many_jobs_are_what_each_is_alone(database):
    ids = [new_job(database)]
    first = begin(database)
    add_evaluations(database, first, [10, 20, 30], test__accuracy=[0.1, 0.2, 0.3], test__loss=[3, 2, 1])
    with database.write() as session:
        lease.release(session, first)
    # The same job again, from step 20 on: what the first attempt found at 30 is superseded.
    again = begin(database, start=20)
    add_evaluations(database, again, [30, 40], test__accuracy=[0.5, 0.6], test__loss=[1, 1])
    ids += [new_job(database), new_job(database)]
    other = begin(database)
    add_evaluations(database, other, [10], test__accuracy=[float("nan")], test__loss=[1])
    with database.read() as session:
        found = evaluations(session, select(Job.id), ["test/accuracy", "nothing"])
        alone = {id: read(session, id, MetricsQuery(names=["test/accuracy"])).series for id in ids}
    assert found[first.job_id]["test/accuracy"][0] == [10, 20, 30, 40]
    for id in (first.job_id, other.job_id):
        steps, values = found[id]["test/accuracy"]
        assert list(steps) == alone[id]["test/accuracy"]["step"]
        np.testing.assert_array_equal(values, alone[id]["test/accuracy"]["value"])
    assert set(found) == {first.job_id, other.job_id}


def test_a_subject_has_all_arms_and_runs(database):
    made = post(database, max_parallel=2, baseline={"norm": "none"}).experiment.id
    launched(database, made)
    latest = {"test/accuracy": {"value": 0.9, "step": 1000}}
    hold = run_next(database, step=1000, latest=latest, best=latest)
    with database.write() as session:
        told = {"findings": [{"code": "init_residue", "severity": "bad"}], "summary": "s"}
        events.add(session, hold.job_id, 1, EventType.DIAGNOSIS, **told)
    run_next(database, DIVERGED)
    with database.read() as session:
        subject = reading.subject(session, commands.get(session, made))
    assert [arm.is_baseline for arm in subject.arms] == [True, True, False, False]
    assert [arm.name for arm in subject.arms][3] == "norm batch, lr 0.3"
    assert subject.selection.metric == "test/accuracy"
    first, second, third = subject.runs[:3]
    assert (first.job, first.status, first.latest) == (hold.job_id, "succeeded", latest)
    assert (first.findings, first.steps) == ([("init_residue", "bad")], 1000)
    assert (second.status, second.failure) == ("failed", "diverged")
    assert (third.job, third.status) == (None, CellStatus.WAITING)
    assert subject.progress.cells == {"succeeded": 1, "failed": 1, "waiting": 6}
    assert len(subject.runs) == 8
    assert subject.summary is None


def test_a_deleted_job_is_not_waited_for(database):
    made = post(database).experiment.id
    run_all(database, made)
    with database.write() as session:
        session.execute(delete(Job).where(Job.id == cells_of(database, made)[0].job_id))
    with database.read() as session:
        subject = reading.subject(session, commands.get(session, made))
    assert (subject.runs[0].job, subject.runs[0].status) == (None, CellStatus.DELETED)
    assert (subject.progress.ended, subject.progress.status) == (8, "completed")


def test_the_selection_follows_the_target_or_the_jobs(database):
    with_target = post(database, name="a", target={"metric": "test/loss", "value": 0.1}).experiment
    base = with_target.declaration["base"]
    held_out = post(database, name="b", base={**base, "dataset": {"name": "digits", "validation_fraction": 0.2}})
    with database.read() as session:
        chosen = reading.selection(session, with_target)
        assert (chosen.metric, chosen.greater_is_better) == ("test/loss", False)
        assert reading.selection(session, held_out.experiment).metric == "validation/accuracy"


def test_a_preset_tells_its_story(database):
    values = {"base": {}, "axes": {}, "preset": "depth", "scale": "smoke", "name": None}
    made = post(database, **values).experiment
    with database.read() as session:
        subject = reading.subject(session, made)
    assert subject.summary["name"] == "depth"
    assert "arXiv" in subject.summary["source"]
    assert (subject.summary["scale"], subject.summary["expected_scale"]) == ("smoke", "quick")
    assert made.name == "depth (smoke)"


def test_cells_come_in_pages_and_by_status_and_arm(database):
    made = post(database, max_parallel=2).experiment
    launched(database, made.id)
    with database.read() as session:
        page, cursor = reading.cells(session, made, None, None, 3, None)
        rest, end = reading.cells(session, made, None, None, 100, cursor)
        queued, _ = reading.cells(session, made, CellStatus.QUEUED, None, 100, None)
        second, _ = reading.cells(session, made, CellStatus.WAITING, 1, 100, None)
        assert [line.cell.number for line in page + rest] == list(range(8))
        assert end is None
        assert [line.cell.number for line in queued] == [0, 1]
        assert [line.cell.number for line in second] == [5]
        for wrong in ("-1", "x", "9" * 40, "1.5", ""):
            with pytest.raises(InvalidCursor):
                reading.cells(session, made, None, None, 3, wrong)


def test_experiments_come_in_pages_the_newest_first(database):
    made = [post(database, name=str(number)).experiment.id for number in range(5)]
    with database.read() as session:
        page, cursor = reading.page(session, 3, None)
        rest, end = reading.page(session, 3, cursor)
    assert [each.id for each in page + rest] == made[::-1]
    assert end is None
    with database.read() as session, pytest.raises(InvalidCursor):
        reading.page(session, 3, "job_x")


def test_cells_of_a_fixture_have_no_job_yet(database):
    assert all(cell.job_id is None for cell in cells_of(database, post(database).experiment.id))
