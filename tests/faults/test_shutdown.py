"""Workers that are told to go: their jobs go on elsewhere, without a step lost."""

import random

import pytest

from db.tables import Job
from tests.faults.runs import SPEC, Stopwatch, after_step, outcome, timeline
from tests.services import wait_for

pytestmark = pytest.mark.faults

#: No checkpoint but those of the releases, and of the end.
SPEC = {**SPEC, "checkpoint": {"every": 10**6, "keep_best": 0}}


def test_rolling_restarts_lose_no_step(stack, reference, long, seed, figures):
    chance, client = random.Random(seed), stack.client()
    restarts = 10 if long else 1
    spec = {**SPEC, "steps": 1000 * (restarts + 2) + 200}
    expected = reference.of(spec)
    job, step, stops, lost = client.submit(spec), 0, [], 0
    with figures.counting("rolling restart of the worker", stack) as tally:
        tally.ends[job] = "succeeded"
        for number in range(1, restarts + 1):
            after_step(client, job, step + chance.randrange(1, 400))
            tally.tried += 1
            step, seconds = restart(stack, client, job, number)
            stops.append(seconds)
            resumed = wait_for(lambda number=number: timeline(client, job, "resumed")[number - 1 :])
            lost += step - resumed[0]["data"]["step"]
            tally.note = f"{lost} steps trained again; a stop takes at most {max(stops):.1f} s"
        shown = client.wait(job)
        assert (shown["status"], shown["attempt"], lost) == ("succeeded", restarts + 1, 0), shown["failure"]
        attempts = client.get(f"/v1/jobs/{job}/attempts")["data"]
        assert sorted(each["outcome"] for each in attempts) == ["completed", *["released"] * restarts]
        stack.check_whole(job)
        assert outcome(stack, job) == expected
        tally.survived = restarts


def restart(stack, client, job: str, number: int) -> tuple[int, float]:
    """Stop the worker and start another; the step at which it let go, and how long that took."""
    (worker,) = stack.running_workers()
    watch = Stopwatch()
    assert worker.stop() == 0, worker.log.read_text()
    seconds = watch.seconds
    assert seconds < 15
    # Those that only wait for their parent's end need a moment more.
    wait_for(lambda: not worker.members(), timeout=5)
    shown = client.job(job)
    assert (shown["status"], shown["reason"], shown["attempt"]) == ("queued", "released", number)
    with stack.database().read() as session:
        assert session.get_one(Job, job).lost_attempts == 0
    stack.start_worker()
    return shown["progress"]["step"], seconds
