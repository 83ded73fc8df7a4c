"""Commands in any order at any moment, to a real API and a real worker: the law holds, and nothing is stuck."""

import random
import re
import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from db import commands
from db.status import FINAL, LIVE, Status
from db.tables import Event, Job
from tests.faults import whole
from tests.faults.runs import SPEC, Stopwatch, after_step, percentile, timeline
from tests.services import wait_for

pytestmark = pytest.mark.faults

ALLOWED = {
    "cancel": commands.CANCELLABLE,
    "pause": commands.PAUSABLE,
    "resume": commands.RESUMABLE,
    "retry": commands.RETRYABLE,
}
#: What a job is after a command: that is new, and that was given before.
NEW = {"cancel": {"cancelled", "cancelling"}, "pause": {"pausing"}, "resume": {"queued"}, "retry": {"queued"}}
BEFORE = {"cancel": {"cancelled", "cancelling"}, "pause": {"pausing", "paused"}}
#: Nothing is saved yet; what was has just been replaced; the run has all the steps that the fork would have.
NO_FORK = {(409, "no_model_yet"), (409, "checkpoint_replaced"), (422, "no_steps_left")}
#: Of the jobs, and of their forks.
STEPS, FORK_STEPS = [30, 300, 900], 1000
REQUEUED = {"queued", "starting", "running"}
STUCK_SECONDS = 60
#: Between commands, in seconds.
MOMENTS = st.sampled_from([0.05, 0.1, 0.3])


def check_refusal(answer, allowed) -> None:
    """Of a command that the status does not allow: it says which would."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "transition_refused"), answer.text
    assert problem["allowed"] == [status.value for status in allowed]
    found = re.match(r"A job that is (\w+) cannot", problem["detail"])
    assert found is not None
    assert found[1] not in problem["allowed"]


class Commands(RuleBasedStateMachine):
    """Jobs of a second or two, and all that may be asked of them."""

    stack = None
    tally = None
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.client = self.stack.client()
        self.mine: set[str] = set()
        self.deleted: set[str] = set()

    @initialize(target=jobs)
    def begin(self):
        return self.submit(STEPS[-1])

    @rule(target=jobs, steps=st.sampled_from(STEPS))
    def submit_one(self, steps):
        return self.submit(steps)

    def submit(self, steps: int) -> str:
        changes = {"steps": steps, "evaluate": {"every": max(10, steps // 2), "train_samples": 64}}
        job = self.client.submit(SPEC, **changes)
        self.mine.add(job)
        return job

    @rule(job=jobs, orders=st.lists(st.tuples(st.sampled_from(list(ALLOWED)), MOMENTS), min_size=3, max_size=6))
    def command_it(self, job, orders):
        for name, seconds in orders:
            time.sleep(seconds)
            self.command(job, name)

    def command(self, job: str, name: str) -> None:
        self.tally.tried += 1
        answer = self.client.http.post(f"/v1/jobs/{job}/{name}")
        if job in self.deleted:
            assert answer.status_code == 404
        elif answer.status_code == 202:
            assert answer.json()["status"] in NEW[name]
        elif answer.status_code == 200:
            assert answer.json()["status"] in BEFORE.get(name, REQUEUED)
        else:
            check_refusal(answer, ALLOWED[name])
        self.tally.survived += 1

    @rule(target=jobs, job=jobs)
    def fork(self, job):
        answer = self.client.http.post(f"/v1/jobs/{job}/fork", json={"overrides": {"steps": FORK_STEPS}})
        if answer.status_code == 201:
            self.mine.add(answer.json()["id"])
            return answer.json()["id"]
        if job in self.deleted:
            assert answer.status_code == 404
        else:
            assert (answer.status_code, answer.json()["code"]) in NO_FORK, answer.text
        return multiple()

    @rule(job=jobs)
    def delete(self, job):
        answer = self.client.http.delete(f"/v1/jobs/{job}")
        if job in self.deleted:
            assert answer.status_code == 404
        elif answer.status_code == 204:
            self.deleted.add(job)
        else:
            check_refusal(answer, FINAL)

    @rule(seconds=MOMENTS)
    def wait(self, seconds):
        time.sleep(seconds)

    @invariant()
    def the_law_holds(self):
        with self.stack.database().read() as session:
            for job_id in self.mine - self.deleted:
                job = session.get_one(Job, job_id)
                events = session.query(Event).where(Event.job_id == job_id).order_by(Event.seq).all()
                assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
                last = [event for event in events if event.type == "status"][-1]
                assert last.data["status"] == job.status.value
                assert (job.status in LIVE) == (job.lease_expires is not None), job.status
                assert (job.status in FINAL) == (job.finished_at is not None), job.status

    def teardown(self):
        left = sorted(self.mine - self.deleted)
        self.tally.ends |= dict.fromkeys(left, "any end")
        for job in left:
            shown = wait_for(lambda job=job: self.settled(job), timeout=STUCK_SECONDS, every=0.1)
            self.tally.ends[job] = shown["status"]
            assert shown["failure"] is None
            whole.check_timeline(self.client, job)
            if shown["status"] == "succeeded":
                self.check_steps(shown)

    def settled(self, job: str):
        """The job at its end; one that waits for a client is told to go on."""
        shown = self.client.job(job)
        if shown["status"] == Status.PAUSED:
            self.client.http.post(f"/v1/jobs/{job}/resume")
        return shown if shown["finished_at"] else None

    def check_steps(self, shown) -> None:
        """Each once, from where the job began."""
        first = shown["origin"]["step"] if shown["origin"] else 0
        steps = whole.recorded(self.client, shown["id"])["metrics"]["train/loss"]["step"]
        assert steps == list(range(first + 1, shown["progress"]["steps"] + 1))
        if not first:
            self.stack.check_whole(shown["id"])


def test_commands_in_any_order(stack, long, figures):
    # The first examples of Hypothesis are its simplest: hardly a command.
    examples, length = (8, 24) if long else (3, 10)
    with figures.counting("commands in any order", stack) as tally:
        run_machine(
            type("Commands", (Commands,), {"stack": stack, "tally": tally}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=length,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert tally.tried >= examples, "too few to show anything"
        tally.note = f"{len(tally.ends)} jobs"


def test_cancels_pauses_and_resumes_at_random_moments(stack, long, seed, figures):
    chance, client, seconds = random.Random(seed), stack.client(), []
    with figures.counting("cancel at a random moment", stack) as tally:
        for number in range(32 if long else 3):
            job = client.submit(SPEC, steps=10**6, evaluate={"every": 10**4})
            tally.tried += 1
            tally.ends[job] = "cancelled"
            time.sleep(chance.random())
            if number % 2:
                go_on(client, job)
                time.sleep(chance.random() / 2)
            seconds.append(seconds_to_cancel(client, job))
            stack.check_legal(job)
            tally.survived += 1
        p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
        tally.note = f"to the final status: p50 {p50:.2f} s, p99 {p99:.2f} s"
    # Seen within half a second; an evaluation is broken off, and nothing is killed after 30 s.
    assert p99 < 15


def seconds_to_cancel(client, job: str) -> float:
    """From the request until the job says that it has ended."""
    watch = Stopwatch()
    client.http.post(f"/v1/jobs/{job}/cancel")
    shown = client.get(f"/v1/jobs/{job}", wait=30)
    while not shown["finished_at"]:
        shown = client.get(f"/v1/jobs/{job}", wait=30)
    assert shown["status"] == "cancelled"
    return watch.seconds


def go_on(client, job: str) -> None:
    """Pause the job wherever it is, and have it go on; it makes a step that it had not made."""
    after_step(client, job, 0)
    wait_for(lambda: client.http.post(f"/v1/jobs/{job}/pause").status_code in (200, 202))
    paused = client.wait(job, "paused")
    assert paused["status"] == "paused", paused
    assert client.http.post(f"/v1/jobs/{job}/resume").status_code == 202
    after_step(client, job, paused["progress"]["step"] + 1)
    resumed = timeline(client, job, "resumed")
    assert not resumed or resumed[-1]["data"]["step"] == paused["progress"]["step"]
