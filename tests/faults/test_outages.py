"""Everything goes away once while jobs are submitted: each of them is done once."""

import random
import signal
import threading
import time

import pytest
from sqlalchemy import func, select

from db.tables import Job
from tests.e2e.client import DIGITS
from tests.faults.clients import PatientClient, post
from tests.faults.harness import STACKS, Stack
from tests.services import wait_for

pytestmark = pytest.mark.faults

#: It has all that can go away.
SHORT_STACKS = STACKS[1:]

SPEC = {**DIGITS, "steps": 300, "checkpoint": {"every": 60}, "statistics": {"every": 100}}


def spec_of(number: int):
    return {**SPEC, "seed": number, "name": f"outage {number}"}


def count_jobs(stack: Stack, **where) -> int:
    query = select(func.count()).select_from(Job).where(Job.name.startswith("outage ")).filter_by(**where)
    with stack.database().read() as session:
        return session.scalar(query)


def kill_api_between_commit_and_answer(stack: Stack, number: int) -> None:
    """The row is there and the client does not know; on Redis the message has not been sent either."""
    name = f"outage {number}"
    if stack.redis:
        stack.freeze_redis()
    request = threading.Thread(target=post, args=(stack.url, spec_of(number), f"job-{number}"))
    request.start()
    wait_for(lambda: count_jobs(stack, name=name) == 1, timeout=30, every=0.001)
    stack.kill_api()
    request.join(35)
    assert not request.is_alive()
    if stack.redis:
        stack.wake_redis()
    stack.start_api()
    again = post(stack.url, spec_of(number), f"job-{number}")
    assert again is not None
    assert again.status_code == 201, again.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert count_jobs(stack, name=name) == 1


def servers_come_and_go(stack: Stack, seconds_away: float) -> None:
    """Redis is away for a while, then empty; Postgres is restarted in order, then in a hurry."""
    if stack.redis:
        stack.stop_redis(signal.SIGKILL)
        time.sleep(seconds_away)
        stack.start_redis()
        stack.flush_redis()
    if stack.postgres:
        stack.restart_postgres(signal.SIGINT)
        time.sleep(1)
        stack.restart_postgres(signal.SIGQUIT)


def test_no_job_is_lost_doubled_or_stuck_while_everything_goes_away(stack, long, seed, figures):
    chance = random.Random(seed)
    jobs, rounds, api_kills = (50, 5, 5) if long else (10, 1, 1)
    # Submitting takes as long as the faults do.
    every = 0.5 if not long else 3 if stack.redis else 1
    stack.start_worker(wait=False)
    with figures.counting("everything away once", stack) as tally:
        for number in range(api_kills):
            kill_api_between_commit_and_answer(stack, number)
        wait_for(lambda: count_jobs(stack, status="queued") == 0)
        client = PatientClient(stack.url, spec_of, jobs, every_seconds=every)
        tally.tried = jobs
        client.start()
        for number in range(rounds):
            time.sleep(chance.uniform(0, 1))
            stack.workers[-2].kill()
            stack.start_worker(wait=False)
            servers_come_and_go(stack, seconds_away=60 if long and not number else 3)
            stack.kill_api()
            stack.start_api()
        client.join(300)
        tally.ends = dict.fromkeys(client.ids.values(), "succeeded")
        tally.doubled = count_jobs(stack) - len(tally.ends)
        tally.note = f"{rounds} worker kills, {api_kills + rounds} API kills, {client.tries} requests"
        wait_for(lambda: count_jobs(stack, status="succeeded") == jobs, timeout=300, every=0.1)
        assert client.tries > jobs, "it never found the API away"
        assert not client.wrong
        assert count_jobs(stack) == jobs == len(tally.ends)
        for job in tally.ends:
            stack.check_whole(job)
            tally.survived += 1
