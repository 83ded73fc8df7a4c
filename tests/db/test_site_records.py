"""The whole record of a site: details beside moments, what evaluations found, and reading on through both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import chunks, statistics
from db.cursor import Cursor
from db.site_streams import SiteWriter, summary_over_channels
from db.statistics import StatisticsPage, StatisticsQuery
from models.shapes import Site
from tests.db.support import claimed_job, properties

CHANNELS, TIME_STEPS = 4, 3
RANDOM = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def site(**changes) -> Site:
    return Site(
        **{"name": "norm1", "norm": "batch", "channels": CHANNELS, "positions": 1, "moments": CHANNELS} | changes
    )


def detailed(rows: int) -> dict[str, np.ndarray]:
    columns = ("train.mean", "eval.mean", "drift.delta", "noise.mean", "affine.gamma", "activation.zero")
    values = {column: numbers(rows, CHANNELS) for column in columns}
    values["activation.zero"] = RANDOM.integers(0, 3, (rows, CHANNELS)).astype(np.float32) / 2
    return values | {f"layer.{name}": numbers(rows) for name in ("weight_norm", "effective_lr")}


def evaluated() -> dict[str, np.ndarray]:
    return {column: numbers(CHANNELS) for column in ("population.mean", "drift.kl", "noise.job", "test.delta")}


def store(database, *writers: SiteWriter) -> None:
    streams = [stream for writer in writers for stream in writer.streams]
    with database.write() as session:
        chunks.write(session, streams)
    for stream in streams:
        stream.committed()


def read(database, job_id: str, **query) -> StatisticsPage:
    with database.read() as session:
        return statistics.read(session, job_id, StatisticsQuery(**{"known": {"norm1": site()}} | query))


def number_at(record: dict, *path: str) -> np.ndarray:
    for name in path:
        record = record[name]
    return np.array(record)


@pytest.fixture
def stored(database):
    """A site with ten recorded steps and three evaluations."""
    hold = claimed_job(database)
    writer, moments = SiteWriter(hold, "norm1"), detailed(10)
    writer.add(list(range(10, 110, 10)), moments, {"50": numbers(10, 2)})
    found = {step: evaluated() for step in (35, 70, 100)}
    for step, values in found.items():
        writer.add_population(step, values)
    store(database, writer)
    return hold.job_id, moments, found


@pytest.mark.parametrize("channels", [(), (2, 0)])
def test_details_lie_beside_moments_by_channel(database, stored, channels):
    job_id, moments, found = stored
    record = read(database, job_id, channels=channels).sites["norm1"]
    for column, values in moments.items():
        chosen = values[:, list(channels)] if channels and values.ndim > 1 else values
        np.testing.assert_array_equal(number_at(record, *column.split(".")), chosen)
    assert record["population"]["step"] == list(found)
    for column in ("population.mean", "drift.kl", "noise.job", "test.delta"):
        values = np.stack([each[column] for each in found.values()])
        path = ["mean"] if column == "population.mean" else column.split(".")
        chosen = values[:, list(channels)] if channels else values
        np.testing.assert_array_equal(number_at(record["population"], *path), chosen)


def test_the_summary_has_every_column_over_the_channels_and_the_share_of_dead_ones(database, stored):
    job_id, moments, found = stored
    record = read(database, job_id).sites["norm1"]
    for column, values in moments.items():
        if column.startswith("layer."):
            np.testing.assert_array_equal(number_at(record, *column.split(".")), values)
            continue
        over = {"mean": values.mean(axis=1), "min": values.min(axis=1), "max": values.max(axis=1)}
        for name, wanted in over.items():
            np.testing.assert_allclose(number_at(record, *column.split("."), name), wanted, rtol=1e-5, atol=1e-7)
    dead = (moments["activation.zero"] == 1).mean(axis=1)
    np.testing.assert_array_equal(record["activation"]["dead"], dead)
    delta = [values["test.delta"].max() for values in found.values()]
    np.testing.assert_array_equal(record["population"]["test"]["delta"]["max"], np.float32(delta))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_mode_keeps_its_half_of_the_pair_alone(database, stored, mode):
    record = read(database, stored[0], modes=[mode]).sites["norm1"]
    assert {"train", "eval"} & set(record) == {mode}
    assert {"drift", "noise", "affine", "layer", "activation", "population"} < set(record)


def test_what_a_norm_keeps_of_groups_is_given_whole_beside_the_channels_that_are_chosen(database):
    hold = claimed_job(database)
    writer, moments = (
        SiteWriter(hold, "norm1"),
        {"train.mean": numbers(2, 2), "affine.gamma": numbers(2, CHANNELS)},
    )
    writer.add([1, 2], moments, {})
    store(database, writer)
    known = {"norm1": site(norm="group", moments=2)}
    record = read(database, hold.job_id, channels=(3,), known=known).sites["norm1"]
    np.testing.assert_array_equal(record["train"]["mean"], moments["train.mean"])
    np.testing.assert_array_equal(record["affine"]["gamma"], moments["affine.gamma"][:, [3]])


@pytest.mark.parametrize("channels", [None, (), (1,)])
@pytest.mark.parametrize("steps", [TIME_STEPS, CHANNELS], ids=["other", "as many as channels"])
def test_recurrent_sites_have_time_steps_where_their_columns_have(database, steps, channels):
    hold = claimed_job(database)
    writer = SiteWriter(hold, "norm1")
    moments = {"train.mean": numbers(2, steps, 1), "affine.gamma": numbers(2, CHANNELS)}
    found = {"population.mean": numbers(steps, 1), "test.delta": numbers(steps, CHANNELS)}
    writer.add([1, 2], moments | {"layer.weight_norm": numbers(2)}, {})
    writer.add_population(2, found)
    store(database, writer)
    query = {"channels": channels, "known": {"norm1": site(time_steps=steps, moments=1)}}
    record = read(database, hold.job_id, **query).sites["norm1"]
    population = record["population"]
    for place, values in (
        (record["train"]["mean"], moments["train.mean"]),
        (record["affine"]["gamma"], moments["affine.gamma"]),
        (population["mean"], found["population.mean"][None]),
        (population["test"]["delta"], found["test.delta"][None]),
    ):
        if channels is None:
            np.testing.assert_array_equal(place["max"], values.max(axis=-1))
        else:
            some = list(channels) if channels and values.shape[-1] == CHANNELS else slice(None)
            np.testing.assert_array_equal(place, values[..., some])


some_steps = st.sets(st.integers(1, 40)).map(sorted)


def read_on(database, job_id: str, cursor: str | None, seen: dict[str, list[int]], page_rows: int) -> str:
    """All pages after the cursor; each holds the evaluations up to its last step, if another one follows."""
    more = True
    while more:
        page = read(database, job_id, after=cursor, to_step=50)
        cursor, more = page.cursor, page.more
        record = page.sites.get("norm1", {})
        steps, evaluations = record.get("step", []), record.get("population", {}).get("step", [])
        seen["recorded"] += steps
        seen["evaluated"] += evaluations
        if more and steps:
            assert len(steps) == page_rows
            assert all(step <= steps[-1] for step in evaluations)
    assert cursor is not None
    return cursor


@properties
@given(
    recorded=some_steps,
    evaluations=some_steps,
    flushes=some_steps.map(lambda steps: [*steps[:3], 40]),
    page_rows=st.integers(1, 7),
)
def test_reading_on_loses_and_doubles_nothing(database, recorded, evaluations, flushes, page_rows):
    """However rows come and whatever the pages: each recorded step and each evaluation comes once, in order."""
    hold = claimed_job(database)
    writer, cursor, begin = SiteWriter(hold, "norm1"), None, 0
    seen: dict[str, list[int]] = {"recorded": [], "evaluated": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("db.statistics.PAGE_ROWS", page_rows)
        for end in flushes:
            steps = [step for step in recorded if begin < step <= end]
            if steps:
                writer.add(steps, detailed(len(steps)), {})
                store(database, writer)
                cursor = read_on(database, hold.job_id, cursor, seen, page_rows)
            for step in (step for step in evaluations if begin < step <= end):
                writer.add_population(step, evaluated())
            store(database, writer)
            cursor = read_on(database, hold.job_id, cursor, seen, page_rows)
            begin = end
    assert seen == {"recorded": recorded, "evaluated": evaluations}


@pytest.mark.parametrize("channels", [None, ()])
def test_buckets_have_least_and_greatest_and_how_many_rows(database, channels):
    hold = claimed_job(database)
    writer, moments = SiteWriter(hold, "norm1"), detailed(20)
    moments["noise.mean"][0] = np.nan  # of a first batch
    writer.add(list(range(1, 21)), moments, {"50": numbers(20, 2)})
    store(database, writer)
    page = read(database, hold.job_id, channels=channels, max_points=5)
    record = page.sites["norm1"]
    assert page.downsampled
    assert record["step"] == [1, 5, 9, 13, 17]
    assert record["count"] == [4] * 5
    for column, values in moments.items():
        path = column.split(".")
        parts = values.reshape(5, 4, *values.shape[1:])
        if channels is None and values.ndim > 1:
            path, parts = [*path, "mean"], parts.mean(axis=2, dtype=np.float64).astype(parts.dtype)
        np.testing.assert_allclose(number_at(record, *path), np.nanmean(parts, axis=1), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(number_at(record["min"], *path), np.nanmin(parts, axis=1))
        np.testing.assert_array_equal(number_at(record["max"], *path), np.nanmax(parts, axis=1))
    assert set(record["min"]) == set(record["max"]) == set(record) - {"step", "count", "min", "max"}


def test_evaluations_are_down_sampled_by_their_own_number(database, stored):
    job_id, _, found = stored
    page = read(database, job_id, max_points=5)
    record = page.sites["norm1"]
    assert len(record["step"]) == 5
    assert record["population"]["step"] == list(found)
    assert "count" not in record["population"]
    population = read(database, job_id, max_points=2, channels=()).sites["norm1"]["population"]
    assert population["count"] == [1, 2]
    later = np.stack([found[step]["population.mean"] for step in (70, 100)])
    np.testing.assert_array_equal(population["min"]["mean"][1], later.min(axis=0))
    np.testing.assert_array_equal(population["max"]["mean"][1], later.max(axis=0))


def test_a_range_bounds_steps_and_evaluations(database, stored):
    record = read(database, stored[0], from_step=30, to_step=70).sites["norm1"]
    assert record["step"] == [30, 40, 50, 60, 70]
    assert record["population"]["step"] == [35, 70]


def test_a_cursor_of_steps_alone_reads_all_evaluations(database, stored):
    cursor = Cursor(attempt=1, steps={"sites": 60}).encode()
    record = read(database, stored[0], after=cursor).sites["norm1"]
    assert record["step"] == [70, 80, 90, 100]
    assert record["population"]["step"] == [35, 70, 100]


def test_an_evaluation_that_found_nothing_is_no_row(database):
    hold = claimed_job(database)
    writer = SiteWriter(hold, "norm1")
    writer.add_population(5, {})
    assert list(writer.streams) == []


def test_the_mean_over_channels_is_that_of_the_finite_ones_however_large():
    largest = np.finfo(np.float32).max
    values = np.array([[1, np.inf, 3], [np.nan] * 3, [largest] * 3], dtype=np.float32)
    summary = summary_over_channels({"drift.rho": values})
    np.testing.assert_array_equal(summary["drift.rho.mean"], np.array([2, np.nan, largest], dtype=np.float32))
    assert summary["drift.rho.max"][0] == np.inf
