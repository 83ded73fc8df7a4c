"""Clients and workers who all want the same thing at the same moment: one gets it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import func, select

from db.tables import Attempt, Job
from tests.faults.runs import SPEC
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
    with figures.counting(f"{CLIENTS * EACH} requests with one Idempotency-Key", stack) as tally:
        before = count(stack)
        for number in range(1, 11 if long else 2):
            tally.tried += 1
            answers = storm(stack, uuid4().hex)
            made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
            tally.ends |= dict.fromkeys(made, "succeeded")
            tally.doubled += len(made) - 1
            assert {answer.status_code for answer in answers} == {201}
            assert len({answer.content for answer in answers}) == 1
            assert count(stack) == before + number
            shown = stack.client().wait(*made)
            assert (shown["status"], shown["attempt"]) == ("succeeded", 1)
            stack.check_whole(shown["id"])
            tally.survived += 1


def test_two_workers_never_take_the_same_job(stack, long, figures):
    client, jobs = stack.client(), 200 if long else 12
    other = stack.start_worker()
    with figures.counting("two workers, many jobs", stack) as tally:
        made = [client.submit(TINY) for _ in range(jobs)]
        tally.tried, tally.ends = jobs, dict.fromkeys(made, "succeeded")
        wait_for(lambda: all(client.job(job)["finished_at"] for job in made[-4:]), every=0.1)
        ended = [client.wait(job) for job in made]
        with stack.database().read() as session:
            taken = session.execute(select(Attempt.job_id, Attempt.worker).where(Attempt.job_id.in_(made))).all()
        tally.doubled = len(taken) - len({job for job, _ in taken})
        assert {job["status"] for job in ended} == {"succeeded"}
        assert sorted(job for job, _ in taken) == sorted(made), "each once"
        assert len({worker for _, worker in taken}) == 2, "both have taken some"
        for job in made:
            stack.check_whole(job)
            tally.survived += 1
    other.kill()
