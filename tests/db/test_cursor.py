"""Cursors: opaque text that only this service's own answers hold."""

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from db import cursor as cursors
from db import metrics, statistics
from db.cursor import Cursor
from db.errors import InvalidCursor
from db.metrics import MetricsQuery
from db.statistics import StatisticsQuery
from tests.db.streams import read, rows_of, write_stream
from tests.db.support import claimed_job, properties

steps = st.dictionaries(st.text(max_size=20), st.integers(0, 2**62 - 1), max_size=4)


def encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@given(attempt=st.integers(0, 2**31), steps=steps)
def test_a_cursor_survives_its_text(attempt, steps):
    cursor = Cursor(attempt=attempt, steps=steps)
    assert Cursor.decode(cursor.encode()) == cursor


def test_the_text_of_a_cursor_may_stand_in_a_query_as_it_is():
    text = Cursor(attempt=3, steps={"ü/λ???": 7, "train": 2**62 - 1}).encode()
    assert text.replace("-", "").replace("_", "").isalnum()
    assert text.isascii()


NOT_CURSORS = {
    "empty": "",
    "word": "nonsense",
    "no base64": "!!!!",
    "not ASCII": "Ω",
    "lone surrogate": "\ud800",
    "NUL": "\x00",
    "not UTF-8": base64.urlsafe_b64encode(b"\xff\xfe\x00").decode(),
    "no JSON": base64.urlsafe_b64encode(b"[1, {").decode(),
    "a number": encode(5),
    "null": encode(None),
    "two characters": encode("ab"),
    "a dict of two": encode({"a": 1, "b": 2}),
    "one part": encode([1]),
    "three parts": encode([1, {}, 2]),
    "text attempt": encode(["1", {}]),
    "true attempt": encode([True, {}]),
    "null attempt": encode([None, {}]),
    "float attempt": encode([1.0, {}]),
    "negative attempt": encode([-1, {}]),
    "huge attempt": encode([10**30, {}]),
    "list of steps": encode([1, [1, 2]]),
    "text step": encode([1, {"train": "5"}]),
    "float step": encode([1, {"train": 5.5}]),
    "NaN step": encode([1, {"train": float("nan")}]),
    "true step": encode([1, {"train": True}]),
    "negative step": encode([1, {"train": -1}]),
    "huge step": encode([1, {"train": 10**30}]),
    "nested step": encode([1, {"train": {"a": 1}}]),
    "a number of 5,000 digits": base64.urlsafe_b64encode(b"[" + b"9" * 5000 + b",{}]").decode(),
    "deep JSON": base64.urlsafe_b64encode(b"[" * 7000).decode(),
    "deep steps": base64.urlsafe_b64encode(b"[1," + b"[" * 7000).decode(),
}


@pytest.mark.parametrize("text", NOT_CURSORS.values(), ids=NOT_CURSORS.keys())
def test_what_is_no_cursor_is_refused_as_such(database, text):
    hold = claimed_job(database)
    for read_with in (
        lambda session: metrics.read(session, hold.job_id, MetricsQuery(after=text)),
        lambda session: statistics.read(session, hold.job_id, StatisticsQuery(after=text)),
    ):
        with database.read() as session, pytest.raises(InvalidCursor) as refused:
            read_with(session)
        assert refused.value.parameter == "after"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(text=st.one_of(st.text(), json_values.map(encode), st.binary().map(lambda b: b.hex())))
@example(text="W10")
def test_any_text_is_a_cursor_or_refused_as_none(text):
    try:
        cursor = Cursor.decode(text)
    except InvalidCursor:
        return
    assert all(type(number) is int and number >= 0 for number in (cursor.attempt, *cursor.steps.values()))


@properties
@given(text=st.one_of(st.text(), json_values.map(encode)))
def test_any_text_after_a_real_stream_gives_rows_or_is_refused(database, text):
    hold = claimed_job(database)
    write_stream(database, hold, rows_of(5))
    try:
        page = read(database, hold.job_id, after=text)
    except InvalidCursor:
        return
    assert set(page.series) <= {"train/loss", "train/accuracy"}


def test_a_cursor_of_another_stream_or_far_beyond_the_end_gives_what_it_can(database):
    hold = claimed_job(database)
    write_stream(database, hold, rows_of(5))
    other = Cursor(attempt=1, steps={"evaluation": 3}).encode()
    assert read(database, hold.job_id, after=other).series["train/loss"]["step"] == [1, 2, 3, 4, 5]
    beyond = Cursor(attempt=1, steps={"train": 2**61}).encode()
    assert read(database, hold.job_id, after=beyond).series == {}
    ahead = Cursor(attempt=99, steps={"train": 2}).encode()
    assert read(database, hold.job_id, after=ahead).series["train/loss"]["step"] == [3, 4, 5]


def test_a_first_read_stands_at_the_newest_attempt(database):
    hold = claimed_job(database)
    with database.read() as session:
        assert cursors.start(session, hold.job_id, None) == (Cursor(attempt=1, steps={}), None)
        assert cursors.start(session, "job_none", None) == (Cursor(attempt=0, steps={}), None)
