"""From the loop to a real database and a real store."""

import json

import numpy as np
import pytest
import sqlalchemy as sa
import torch
from safetensors.torch import load

from db import checkpoints, lease, metrics, statistics
from db.errors import AttemptSuperseded
from db.frames import CHUNK_ROWS
from db.lease import Hold
from db.metrics import MetricsQuery
from db.spec.job import JobSpec
from db.statistics import StatisticsQuery
from db.store import Store
from db.tables import Chunk
from tests.db.support import claim, claimed_job, contents, events_of, job_of, new_job, superseded_job
from tests.services import wait_for
from tests.worker.support import Kept, make_run
from worker import export
from worker.reporter import DatabaseReporter
from worker.snapshot import Snapshot
from worker.trainer import train


@pytest.fixture
def store(tmp_path) -> Store:
    return Store((tmp_path / "store").as_uri())


def begin(database, hold: Hold) -> None:
    """As an attempt that has found no checkpoint."""
    with database.write() as session:
        lease.start_from(session, hold, 0, 0, latest={}, best={})


def reporter_of(database, store: Store, hold: Hold) -> DatabaseReporter:
    return DatabaseReporter(database, store, hold, JobSpec.model_validate(job_of(database, hold.job_id).resolved))


def snapshot(step: int) -> Snapshot:
    return Snapshot(step=step, weights={"w": torch.full((3,), float(step))}, state={"place": [step, 1, step]})


def series(database, job_id: str) -> dict[str, dict]:
    with database.read() as session:
        return metrics.read(session, job_id, MetricsQuery()).series


def test_all_that_a_run_reports_arrives(database, store, digits):
    changes = {"steps": 70, "checkpoint": {"every": 30}, "statistics": {"every": 10}, "device": "cpu"}
    job_id = new_job(database, **changes)
    hold = claim(database)
    begin(database, hold)
    kept, reporter = Kept(), reporter_of(database, store, hold)
    assert train(make_run(digits, **changes), kept, lambda: None) is None
    assert train(make_run(digits, **changes), reporter, lambda: None) is None
    reporter.close()

    found = series(database, job_id)
    for name in ("train/loss", "train/accuracy"):
        assert found[name]["step"] == kept.steps()
        np.testing.assert_array_equal(found[name]["value"], kept.series(name))
    for name in kept.streams["evaluation"][0][1]:
        if name != "samples_per_second":
            np.testing.assert_array_equal(found[name]["value"], kept.series(name, "evaluation"))
    with database.read() as session:
        sites = statistics.read(session, job_id, StatisticsQuery(channels=())).sites
    for site, reports in kept.sites.items():
        np.testing.assert_array_equal(
            sites[site]["train"]["var"], np.concatenate([moments["train.var"] for _, moments, _ in reports])
        )
    with database.read() as session:
        weights = load(store.get(checkpoints.model(session, job_of(database, job_id), "safetensors").store_key))
        code = checkpoints.model(session, job_of(database, job_id), "modeling")
        assert [each.step for each in checkpoints.list_for(session, job_id)] == [70, 60]
    assert all(torch.equal(value, weights[name]) for name, value in kept.snapshots[-1].weights.items())
    assert (code.filename, code.media_type) == ("modeling.py", "text/x-python")
    assert store.get(code.store_key) == export.modeling_bytes()
    job = job_of(database, job_id)
    assert (job.status, job.step, job.epoch) == ("running", 70, 2)
    assert job.first_step_at is not None
    assert job.samples_per_second > 0


def test_latest_and_best_name_value_and_step_also_where_a_number_is_not_finite(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    nan, inf = np.nan, np.inf
    for stream, steps, columns in [
        ("a", [1, 2, 3], {"x/loss": [3.0, nan, 2.0], "x/accuracy": [0.1, 0.9, 0.5]}),
        ("a", [4, 5], {"x/loss": [2.0, nan], "x/accuracy": [nan, 0.9]}),
        ("b", [5], {"y/loss": [inf], "lr": [0.1], "z/accuracy": [-inf]}),
    ]:
        reporter.metrics(stream, steps, {name: np.array(values) for name, values in columns.items()})
    reporter.close()
    job = job_of(database, hold.job_id)
    assert job.latest == {
        "x/loss": {"value": "NaN", "step": 5},
        "x/accuracy": {"value": 0.9, "step": 5},
        "y/loss": {"value": "Infinity", "step": 5},
        "lr": {"value": 0.1, "step": 5},
        "z/accuracy": {"value": "-Infinity", "step": 5},
    }
    assert job.best == {"x/loss": {"value": 2.0, "step": 3}, "x/accuracy": {"value": 0.9, "step": 2}}
    json.dumps([job.latest, job.best], allow_nan=False)


def test_the_best_of_infinite_and_finite_losses_is_finite(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    reporter.metrics("a", [1, 2], {"x/loss": np.array([-np.inf, 4.0]), "x/accuracy": np.array([np.inf, 0.5])})
    reporter.metrics("a", [3], {"x/loss": np.array([3.0]), "x/accuracy": np.array([0.6])})
    reporter.close()
    assert job_of(database, hold.job_id).best == {
        "x/loss": {"value": 3.0, "step": 3},
        "x/accuracy": {"value": 0.6, "step": 3},
    }


def test_the_best_of_a_regression_is_the_least_error_and_the_greatest_r2(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    for step, (rmse, r2) in enumerate([(3.0, -1.0), (1.0, 0.5), (2.0, 0.25)], 1):
        reporter.metrics("a", [step], {"test/rmse": np.array([rmse]), "test/r2": np.array([r2])})
    reporter.close()
    assert job_of(database, hold.job_id).best == {
        "test/rmse": {"value": 1.0, "step": 2},
        "test/r2": {"value": 0.5, "step": 2},
    }


def test_many_small_reports_become_few_full_chunks(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    for step in range(1, 2 * CHUNK_ROWS + 11):
        reporter.metrics("train", [step], {"train/loss": np.array([1.0 / step])})
    reporter.close()
    with database.read() as session:
        rows = session.scalars(sa.select(Chunk.rows).order_by(Chunk.number)).all()
    assert rows == [CHUNK_ROWS, CHUNK_ROWS, 10]
    assert series(database, hold.job_id)["train/loss"]["value"] == [1 / n for n in range(1, 2 * CHUNK_ROWS + 11)]


def test_first_step_environment_and_progress_are_written(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    reporter.environment({"torch": "x"}, "f" * 64)
    reporter.first_step()
    reporter.progress(7, 2, 123.5)
    reporter.close()
    job = job_of(database, hold.job_id)
    assert (job.status, job.step, job.epoch, job.samples_per_second) == ("running", 7, 2, 123.5)
    assert (job.environment, job.dataset_hash) == ({"torch": "x"}, "f" * 64)
    assert events_of(database, hold.job_id)[-1][1] == "running"


def test_old_checkpoints_are_pruned_with_their_files(database, store, tmp_path):
    job_id = new_job(database, checkpoint={"keep_last": 2})
    reporter = reporter_of(database, store, claim(database))
    for step in (1, 2, 3, 4):
        reporter.checkpoint(snapshot(step))
    reporter.close()
    with database.read() as session:
        assert [each.step for each in checkpoints.list_for(session, job_id)] == [4, 3]
        named = {file.store_key for file in checkpoints.artifacts(session, job_id)}
        named |= {each.state_key for each in checkpoints.list_for(session, job_id)}
    folder = tmp_path / "store"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == named
    assert [event for _, event, _ in events_of(database, job_id)].count("checkpoint") == 4


def test_the_numbers_up_to_a_checkpoint_are_written_before_it(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    reporter.metrics("train", [1, 2], {"train/loss": np.array([1.0, 0.5])})
    reporter.checkpoint(snapshot(2))
    reporter.metrics("train", [3], {"train/loss": np.array([0.25])})
    reporter.close()
    assert series(database, hold.job_id)["train/loss"]["step"] == [1, 2, 3]


REPORTS = {
    "first_step": lambda reporter: reporter.first_step(),
    "progress": lambda reporter: reporter.progress(5, 1, 1.0),
    "metrics": lambda reporter: reporter.metrics("train", [1], {"train/loss": np.array([1.0])}),
    "statistics": lambda reporter: reporter.statistics("norm1", [1], {"train.mean": np.ones((1, 8))}, {}),
    "checkpoint": lambda reporter: reporter.checkpoint(snapshot(1)),
}


@pytest.mark.parametrize("report", REPORTS)
def test_a_superseded_attempt_is_told_to_stop_and_writes_nothing(database, store, report):
    stale, _ = superseded_job(database)
    before = contents(database)
    reporter = reporter_of(database, store, stale)
    REPORTS[report](reporter)
    with pytest.raises(AttemptSuperseded):
        reporter.close()
    assert reporter.stopped.is_set()
    assert contents(database) == before


def test_the_run_learns_that_it_is_superseded_while_it_goes_on(database, store):
    stale, _ = superseded_job(database)
    reporter = reporter_of(database, store, stale)
    REPORTS["metrics"](reporter)
    assert reporter.stopped.wait(timeout=30)
    REPORTS["metrics"](reporter)  # the loop may report more before it looks
    with pytest.raises(AttemptSuperseded):
        reporter.close()


def test_an_attempt_that_is_superseded_on_its_way_keeps_what_it_had_written(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    reporter.checkpoint(snapshot(1))
    reporter.close()
    with database.write() as session:
        lease.release(session, hold)
    second = claim(database)
    again = reporter_of(database, store, hold)
    again.checkpoint(snapshot(2))
    assert again.stopped.wait(timeout=30)
    with pytest.raises(AttemptSuperseded):
        again.close()
    with database.read() as session:
        found = checkpoints.list_for(session, second.job_id)
        assert [(each.attempt, each.step) for each in found] == [(1, 1)]


def test_a_write_that_fails_for_good_stops_the_run_with_its_error(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    reporter.progress(10**9, 1, 1.0)  # beyond the job's steps: the database refuses it
    with pytest.raises(sa.exc.IntegrityError):
        reporter.close()
    assert reporter.stopped.is_set()


def test_a_reporter_without_reports_writes_nothing(database, store):
    hold = claimed_job(database)
    before = contents(database)
    reporter_of(database, store, hold).close()
    assert contents(database) == before


def sites_of(database, job_id: str) -> dict[str, list[int]]:
    """The recorded steps of each site, as a reader finds them now."""
    with database.read() as session:
        records = statistics.read(session, job_id, StatisticsQuery()).sites
    return {name: record["step"] for name, record in records.items()}


def test_sites_wait_for_one_another(database, store):
    hold = claimed_job(database)  # of two sites
    reporter = reporter_of(database, store, hold)
    moments = {"train.mean": np.ones((2, 3))}
    reporter.statistics("norm1", [5, 10], moments, {})
    reporter.checkpoint(snapshot(10))  # writes what has come
    reporter.progress(10, 1, 1.0)
    wait_for(lambda: job_of(database, hold.job_id).step)
    assert sites_of(database, hold.job_id) == {}
    reporter.statistics("norm2", [5, 10], moments, {})
    reporter.close()
    assert sites_of(database, hold.job_id) == {"norm1": [5, 10], "norm2": [5, 10]}


def test_what_an_evaluation_found_arrives_with_its_metrics(database, store):
    hold = claimed_job(database)
    reporter = reporter_of(database, store, hold)
    found = {"population.mean": np.arange(3.0), "drift.delta": np.array([0.5, np.nan, 1])}
    for site in ("norm1", "norm2"):
        reporter.statistics(site, [5], {"train.mean": np.ones((1, 3))}, {})
        reporter.population(site, 5, found)
    reporter.metrics("evaluation", [5], {"test/loss": np.array([1.0])})
    reporter.population("norm1", 7, found)
    reporter.close()
    with database.read() as session:
        records = statistics.read(session, hold.job_id, StatisticsQuery(channels=())).sites
    assert records["norm1"]["population"]["step"] == [5, 7]
    assert records["norm1"]["population"]["mean"] == [[0.0, 1.0, 2.0]] * 2
    assert records["norm2"]["population"]["step"] == [5]
