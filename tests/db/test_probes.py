"""What probes measured comes back as it was written, by pages and across attempts."""

import numpy as np
import pytest

from db import chunks, probes
from db.errors import InvalidCursor
from db.probes import ProbePage, ProbeQuery, ProbeWriter
from tests.db.support import claimed_job, next_attempt, running_job


def measured(step: int) -> dict[str, float]:
    return {"loss_min": step / 10, "fc2.norm/cosine": -step / 10, "fc3/cosine": np.nan, "seconds": 0.1}


def write(database, hold, steps, name="landscape", values=measured) -> None:
    writer = ProbeWriter(hold, name, len(values(0)))
    for step in steps:
        writer.add(step, values(step))
        with database.write() as session:
            chunks.write(session, [writer.stream])
        writer.stream.committed()


def read(database, job_id: str, name: str = "landscape", **query) -> ProbePage:
    with database.read() as session:
        return probes.read(session, job_id, ProbeQuery(name=name, **query))


def test_numbers_of_the_network_and_of_layers_come_back_apart(database):
    hold = claimed_job(database)
    write(database, hold, [10, 20])
    page = read(database, hold.job_id)
    assert page.step == [10, 20]
    assert page.values == {"loss_min": [1.0, 2.0], "seconds": [0.1, 0.1]}
    assert page.layers["fc2.norm"] == {"cosine": [-1.0, -2.0]}
    np.testing.assert_array_equal(page.layers["fc3"]["cosine"], [np.nan, np.nan])
    assert (page.more, page.rewound_to) == (False, None)


def test_each_probe_has_a_stream_of_its_own(database):
    hold = claimed_job(database)
    write(database, hold, [10])
    write(database, hold, [20], "geometry", lambda step: {"regions": step})
    assert read(database, hold.job_id).step == [10]
    assert read(database, hold.job_id, "geometry").values == {"regions": [20]}
    assert read(database, hold.job_id, "covariate_shift").step == []


def test_a_range_is_inclusive_and_a_cursor_reads_on(database):
    hold = claimed_job(database)
    write(database, hold, range(10, 60, 10))
    assert read(database, hold.job_id, from_step=20, to_step=40).step == [20, 30, 40]
    first = read(database, hold.job_id, to_step=30)
    assert read(database, hold.job_id, after=first.cursor).step == [40, 50]
    last = read(database, hold.job_id, after=read(database, hold.job_id).cursor)
    assert last.step == []
    write(database, hold, [60], "geometry")
    assert read(database, hold.job_id, after=last.cursor).step == []
    with pytest.raises(InvalidCursor):
        read(database, hold.job_id, after="nonsense")


def test_pages_are_as_long_as_their_numbers_allow_and_lose_nothing(database, monkeypatch):
    monkeypatch.setattr(probes, "PAGE_NUMBERS", 9)  # two rows of four
    hold = claimed_job(database)
    write(database, hold, range(10, 60, 10))
    pages = [read(database, hold.job_id)]
    while pages[-1].more:
        pages.append(read(database, hold.job_id, after=pages[-1].cursor))
    assert [page.step for page in pages] == [[10, 20], [30, 40], [50]]


def test_what_a_newer_attempt_measures_again_supersedes(database):
    hold = running_job(database)
    write(database, hold, [10, 20])
    before = read(database, hold.job_id)
    newer = next_attempt(database, hold)
    write(database, newer, [10], values=lambda step: measured(step) | {"loss_min": 7.0})
    page = read(database, hold.job_id)
    assert (page.step, page.values["loss_min"]) == ([10], [7.0])
    resumed = read(database, hold.job_id, after=before.cursor)
    assert (resumed.rewound_to, resumed.step) == (0, [10])
