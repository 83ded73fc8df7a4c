"""The records of each site: a summary over channels, all channels, some, and percentiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import chunks, statistics
from db.cursor import Cursor
from db.frames import capacity
from db.site_streams import SiteWriter
from db.statistics import PAGE_NUMBERS, StatisticsPage, StatisticsQuery
from models import shapes
from tests.db.support import claimed_job, next_attempt, properties, statements

NAMES = ("train.mean", "train.var", "eval.mean", "eval.var")
PERCENTILES = ("15", "50", "85")


class Site:
    """What one site recorded."""

    def __init__(self, rows: int, channels: int, *, units: int = 2, names=NAMES, every: int = 10, seed=0) -> None:
        random = np.random.default_rng(seed)
        self.steps = (every * np.arange(1, rows + 1)).tolist()
        self.moments = {name: random.normal(size=(rows, channels)).astype(np.float32) for name in names}
        percentiles = PERCENTILES if units else ()
        self.percentiles = {name: random.normal(size=(rows, units)).astype(np.float32) for name in percentiles}

    def capacity(self) -> int:
        """Rows of one chunk."""
        return capacity(sum(values[0].nbytes for values in self.moments.values()))


def known(channels: int, moments: int | None = None, time_steps: int | None = None) -> shapes.Site:
    moments = moments or channels
    return shapes.Site(name="", norm="", channels=channels, positions=1, moments=moments, time_steps=time_steps)


def write(database, hold, name: str, site: Site, size: int | None = None, writer: SiteWriter | None = None):
    """Flush `size` rows at a time."""
    writer = writer or SiteWriter(hold, name)
    size = size or len(site.steps)
    for start in range(0, len(site.steps), size):
        part = slice(start, start + size)
        moments = {key: values[part] for key, values in site.moments.items()}
        percentiles = {key: values[part] for key, values in site.percentiles.items()}
        writer.add(site.steps[part], moments, percentiles)
        with database.write() as session:
            chunks.write(session, writer.streams)
        for stream in writer.streams:
            stream.committed()
    return writer


def read(database, job_id: str, **query) -> StatisticsPage:
    with database.read() as session:
        return statistics.read(session, job_id, StatisticsQuery(**query))


@pytest.fixture
def recorded(database):
    """A job with two sites of 40 recorded steps, flushed by seven."""
    hold = claimed_job(database)
    sites = {"norm1": Site(40, 6), "block.norm2": Site(40, 3, seed=1)}
    for name, site in sites.items():
        write(database, hold, name, site, size=7)
    return hold, sites


def test_the_summary_is_mean_least_and_greatest_over_the_channels(database, recorded):
    hold, sites = recorded
    page = read(database, hold.job_id)
    assert set(page.sites) == set(sites)
    for name, site in sites.items():
        record = page.sites[name]
        assert record["step"] == site.steps
        for moment, values in site.moments.items():
            mode, kind = moment.split(".")
            found = record[mode][kind]
            np.testing.assert_allclose(found["mean"], values.mean(axis=1), rtol=1e-6, atol=1e-7)
            np.testing.assert_array_equal(found["min"], values.min(axis=1))
            np.testing.assert_array_equal(found["max"], values.max(axis=1))


@pytest.mark.parametrize("channels", [(), (0,), (2, 0), (1, 1)], ids=str)
def test_channels_come_all_or_those_that_are_named_in_their_order(database, recorded, channels):
    hold, sites = recorded
    page = read(database, hold.job_id, channels=channels)
    for name, site in sites.items():
        for moment, values in site.moments.items():
            mode, kind = moment.split(".")
            wanted = values[:, list(channels)] if channels else values
            np.testing.assert_array_equal(page.sites[name][mode][kind], wanted)


@pytest.mark.parametrize("channels", [None, (), (1,)])
def test_percentiles_come_with_every_view(database, recorded, channels):
    hold, sites = recorded
    page = read(database, hold.job_id, channels=channels)
    for name, site in sites.items():
        assert list(page.sites[name]["percentiles"]) == list(PERCENTILES)
        for percentile, values in site.percentiles.items():
            np.testing.assert_array_equal(page.sites[name]["percentiles"][percentile], values)


def test_sites_and_modes_choose_what_comes(database, recorded):
    hold, _ = recorded
    assert set(read(database, hold.job_id, sites=["norm1"]).sites) == {"norm1"}
    assert read(database, hold.job_id, sites=["norm9"]).sites == {}
    record = read(database, hold.job_id, modes=["eval"]).sites["norm1"]
    assert "train" not in record
    assert set(record["eval"]) == {"mean", "var"}


def test_a_site_without_a_norm_has_no_eval_mode_and_one_without_units_no_percentiles(database):
    hold = claimed_job(database)
    write(database, hold, "norm1", Site(3, 2, units=0, names=NAMES[:2]))
    record = read(database, hold.job_id).sites["norm1"]
    assert "eval" not in record
    assert set(record["train"]) == {"mean", "var"}
    assert "percentiles" not in record


@properties
@given(
    rows=st.integers(1, 60),
    size=st.integers(1, 60),
    bounds=st.tuples(st.integers(0, 650), st.integers(0, 650)),
    channels=st.sampled_from([None, ()]),
)
def test_ranges_and_flushes_of_any_size_give_the_same_rows_in_every_stream(database, rows, size, bounds, channels):
    hold = claimed_job(database)
    site = Site(rows, 3)
    write(database, hold, "norm1", site, size=size)
    low, high = bounds
    wanted = [low <= step <= high for step in site.steps]
    page = read(database, hold.job_id, from_step=low, to_step=high, channels=channels)
    if not any(wanted):
        assert page.sites == {}
        return
    record = page.sites["norm1"]
    assert record["step"] == [step for step, keep in zip(site.steps, wanted, strict=True) if keep]
    for percentile, values in site.percentiles.items():
        np.testing.assert_array_equal(record["percentiles"][percentile], values[wanted])


WIDE = 1000  # channels: 16 rows to a chunk, so that few rows are many chunks


@pytest.mark.parametrize("points", [1, 5, 13, 99])
@pytest.mark.parametrize("channels", [None, (0, 7)])
def test_down_sampled_streams_of_a_site_share_their_steps(database, points, channels):
    hold = claimed_job(database)
    site = Site(100, WIDE)
    assert site.capacity() == 16
    write(database, hold, "norm1", site, size=30)
    page = read(database, hold.job_id, channels=channels, max_points=points)
    record = page.sites["norm1"]
    assert page.downsampled
    assert len(record["step"]) == points
    starts = np.searchsorted(site.steps, record["step"])
    sizes = np.diff([*starts, 100])[:, None]
    for percentile, values in site.percentiles.items():
        wanted = np.add.reduceat(values.astype(float), starts) / sizes
        np.testing.assert_allclose(record["percentiles"][percentile], wanted, rtol=1e-6, atol=1e-9)
    variance = site.moments["eval.var"].astype(float)
    if channels is None:
        found = record["eval"]["var"]
        np.testing.assert_array_equal(found["min"], np.minimum.reduceat(variance.min(axis=1), starts))
        np.testing.assert_array_equal(found["max"], np.maximum.reduceat(variance.max(axis=1), starts))
        np.testing.assert_allclose(
            found["mean"], np.add.reduceat(variance.mean(axis=1), starts) / sizes[:, 0], rtol=1e-5, atol=1e-7
        )
    else:
        chosen = variance[:, list(channels)] if channels else variance
        np.testing.assert_allclose(record["eval"]["var"], np.add.reduceat(chosen, starts) / sizes, rtol=1e-6)


def test_a_summary_read_does_not_touch_the_channels(database, recorded):
    hold, _ = recorded
    with statements(database) as sent:
        read(database, hold.job_id, sites=["norm1"])
    assert sum("payload" in statement for statement in sent) == 2  # the summary and the percentiles


def test_pages_of_a_wide_site_are_bounded_and_join_without_a_gap(database):
    hold = claimed_job(database)
    site = Site(450, WIDE)
    write(database, hold, "norm1", site)
    pages, cursor = [], None
    while not pages or pages[-1].more:
        pages.append(read(database, hold.job_id, channels=(), after=cursor))
        cursor = pages[-1].cursor
    rows = [len(page.sites["norm1"]["step"]) for page in pages]
    numbers = 4 * WIDE + 6  # four moments of each channel, three percentiles of two units
    assert rows == [PAGE_NUMBERS // numbers, 450 - PAGE_NUMBERS // numbers]
    found = np.concatenate([page.sites["norm1"]["train"]["mean"] for page in pages])
    np.testing.assert_array_equal(found, site.moments["train.mean"])
    percentiles = np.concatenate([page.sites["norm1"]["percentiles"]["50"] for page in pages])
    np.testing.assert_array_equal(percentiles, site.percentiles["50"])


def test_a_page_beside_a_down_sampled_site_loses_no_row(database):
    hold = claimed_job(database)
    sites = {"narrow": Site(300, 2), "wide": Site(300, WIDE)}
    for name, site in sites.items():
        write(database, hold, name, site)
    # 256 rows are whole chunks of the wide site, and more than its page; the narrow one's chunk holds all 300.
    query = {"channels": (), "to_step": 2560, "max_points": 256}
    pages = [read(database, hold.job_id, **query)]
    while pages[-1].more:
        pages.append(read(database, hold.job_id, **query | {"after": pages[-1].cursor}))
    assert pages[0].downsampled
    seen = [step for page in pages for step in page.sites.get("wide", {"step": []})["step"]]
    assert seen == sites["wide"].steps[:256]


@pytest.mark.parametrize("views", [(None, ()), ((), None)], ids=["summary first", "channels first"])
def test_a_reader_that_changes_the_view_gets_numbers_beside_their_steps(database, recorded, views):
    hold, sites = recorded
    first = read(database, hold.job_id, channels=views[0], to_step=200)
    record = read(database, hold.job_id, channels=views[1], after=first.cursor).sites["norm1"]
    rows = [sites["norm1"].steps.index(step) for step in record["step"]]
    np.testing.assert_array_equal(record["percentiles"]["50"], sites["norm1"].percentiles["50"][rows])
    means = sites["norm1"].moments["train.mean"][rows]
    found = record["train"]["mean"] if views[1] is not None else record["train"]["mean"]["max"]
    np.testing.assert_array_equal(found, means if views[1] is not None else means.max(axis=1))


def test_a_cursor_beyond_one_stream_of_a_site_is_no_fault(database, recorded):
    hold, _ = recorded
    cursor = Cursor(attempt=1, steps={"norm1/summary": 10**6}).encode()
    assert "block.norm2" in read(database, hold.job_id, after=cursor).sites


def test_a_second_attempt_hides_the_records_of_the_first_and_rewinds_its_readers(database, recorded):
    hold, _ = recorded
    cursor = read(database, hold.job_id).cursor
    assert read(database, hold.job_id, after=cursor).sites == {}
    second = next_attempt(database, hold)
    site = Site(4, 6, seed=5)
    write(database, second, "norm1", site)
    for after, rewound_to in ((cursor, 0), (None, None)):
        page = read(database, hold.job_id, after=after, channels=())
        assert page.rewound_to == rewound_to
        assert set(page.sites) == {"norm1"}
        assert page.sites["norm1"]["step"] == [10, 20, 30, 40]
        np.testing.assert_array_equal(page.sites["norm1"]["train"]["mean"], site.moments["train.mean"])


@pytest.mark.parametrize("channels", [None, (), (2, 0)], ids=str)
def test_a_recurrent_site_has_a_row_of_time_steps_in_each_step(database, channels):
    hold = claimed_job(database)
    site = Site(12, 5 * 3)
    site.moments = {name: values.reshape(12, 5, 3) for name, values in site.moments.items()}
    write(database, hold, "lstm1.norm_input", site, size=5)
    page = read(database, hold.job_id, channels=channels, known={"lstm1.norm_input": known(3, time_steps=5)})
    record = page.sites["lstm1.norm_input"]
    for name, values in site.moments.items():
        mode, moment = name.split(".")
        found = record[mode][moment]
        if channels is None:
            np.testing.assert_allclose(found["mean"], values.mean(axis=2), rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(found["min"], values.min(axis=2))
            np.testing.assert_array_equal(found["max"], values.max(axis=2))
        else:
            np.testing.assert_array_equal(found, values[..., list(channels)] if channels else values)
