"""The newest numbers of each site."""

import numpy as np
import pytest

from db import chunks
from db.latest import SiteRecord, latest
from db.site_streams import SiteWriter
from tests.db.support import claimed_job, new_job, next_attempt
from tests.db.test_site_records import detailed, evaluated, numbers, store


def read(database, job_id: str, rows: int) -> dict[str, SiteRecord]:
    with database.read() as session:
        return latest(session, job_id, rows)


@pytest.mark.parametrize("rows", [1, 4, 10, 99])
def test_the_last_rows_of_every_column_and_the_last_evaluation(database, rows):
    hold = claimed_job(database)
    writers = {name: SiteWriter(hold, name) for name in ("norm1", "block.norm2")}
    moments = {name: detailed(10) for name in writers}
    for name, writer in writers.items():
        for part in (slice(0, 6), slice(6, 10)):
            steps = list(range(10, 110, 10))[part]
            writer.add(steps, {column: values[part] for column, values in moments[name].items()}, {})
            store(database, writer)
    first, last = evaluated(), evaluated()
    writers["norm1"].add_population(35, first)
    writers["norm1"].add_population(100, last)
    store(database, *writers.values())

    found = read(database, hold.job_id, rows)
    assert set(found) == set(writers)
    for name, record in found.items():
        assert record.steps == list(range(10, 110, 10))[-rows:]
        assert set(record.columns) == set(moments[name])
        for column, values in moments[name].items():
            np.testing.assert_array_equal(record.columns[column], values.reshape(10, -1)[-rows:])
    assert found["norm1"].evaluation_step == 100
    for column, values in last.items():
        np.testing.assert_array_equal(found["norm1"].evaluation[column], values)
    assert (found["block.norm2"].evaluation_step, found["block.norm2"].evaluation) == (None, {})


def test_rows_may_lie_in_several_chunks_and_only_those_are_read(database):
    hold = claimed_job(database)
    writer, values = SiteWriter(hold, "norm1"), numbers(100, 4000)  # 16 rows to a chunk
    writer.add(list(range(1, 101)), {"train.mean": values}, {})
    store(database, writer)
    with database.read() as session:
        assert len(chunks.find(session, hold.job_id, chunks.STATISTICS)["norm1/channels"]) == 7
    record = read(database, hold.job_id, 20)["norm1"]
    assert record.steps == list(range(81, 101))
    np.testing.assert_array_equal(record.columns["train.mean"], values[-20:])


def test_a_job_without_numbers_has_none(database):
    assert read(database, new_job(database), 5) == {}


def test_a_newer_attempt_hides_what_an_older_one_recorded_and_found(database):
    stale = claimed_job(database)
    writer = SiteWriter(stale, "norm1")
    writer.add([10, 20, 30], detailed(3), {})
    writer.add_population(30, evaluated())
    store(database, writer)
    hold = next_attempt(database, stale)
    writer, moments = SiteWriter(hold, "norm1"), detailed(1)
    writer.add([10], moments, {})
    store(database, writer)
    record = read(database, hold.job_id, 5)["norm1"]
    assert (record.steps, record.evaluation_step) == ([10], None)
    np.testing.assert_array_equal(record.columns["train.mean"], moments["train.mean"])
