"""Clients and workers who all want the same thing at the same moment: one gets it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import func, select

from db.tables import Attempt, Job
from tests.faults.runs import SPEC, Stopwatch
from tests.services import wait_for

pytestmark = pytest.mark.faults

CLIENTS, EACH = 20, 10
TINY = {**SPEC, "steps": 2, "evaluate": {"every": 2, "modes": ["eval"]}}


def count(stack) -> int:
    with stack.database().read() as session:
        return session.scalar(select(func.count()).select_from(Job))


def storm(stack, key: str) -> list[httpx2.Response]:
    """The same request with the same key, from many clients at a time."""
    start = threading.Barrier(CLIENTS)

    def post(_: int) -> list[httpx2.Response]:
        with httpx2.Client(base_url=stack.url, timeout=60) as http:
            start.wait()
            return [http.post("/v1/jobs", json=TINY, headers={"Idempotency-Key": key}) for _ in range(EACH)]

    with ThreadPoolExecutor(CLIENTS) as threads:
        return [answer for answers in threads.map(post, range(CLIENTS)) for answer in answers]


def test_two_hundred_requests_with_one_key_are_one_job(stack, long, figures):
    watch, tries = Stopwatch(), 20 if long else 1
    before = count(stack)
    for number in range(1, tries + 1):
        answers = storm(stack, uuid4().hex)
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert count(stack) == before + number
        shown = stack.client().wait(answers[0].json()["id"])
        assert (shown["status"], shown["attempt"]) == ("succeeded", 1)
        stack.check_whole(shown["id"])
    figures.add(
        scenario=f"{CLIENTS * EACH} requests with one Idempotency-Key",
        stack=stack.kind,
        tried=tries,
        survived=tries,
        lost=0,
        doubled=0,
        seconds=watch.seconds,
    )


def test_two_workers_never_take_the_same_job(stack, long, figures):
    client, jobs = stack.client(), 500 if long else 20
    other = stack.start_worker()
    watch = Stopwatch()
    made = [client.submit(TINY) for _ in range(jobs)]
    wait_for(lambda: all(client.job(job)["finished_at"] for job in made[-4:]), every=0.1)
    ended = [client.wait(job) for job in made]
    assert {job["status"] for job in ended} == {"succeeded"}
    with stack.database().read() as session:
        taken = session.execute(select(Attempt.job_id, Attempt.worker).where(Attempt.job_id.in_(made))).all()
    assert sorted(job for job, _ in taken) == sorted(made), "each once"
    assert len({worker for _, worker in taken}) == 2, "both have taken some"
    for job in made:
        stack.check_whole(job)
    figures.add(
        scenario="two workers, many jobs",
        stack=stack.kind,
        tried=jobs,
        survived=jobs,
        lost=0,
        doubled=len(taken) - jobs,
        seconds=watch.seconds,
    )
    assert other.stop() == 0
