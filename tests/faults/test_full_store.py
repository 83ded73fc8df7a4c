"""A store without room: training goes on, what was saved stays, and what could not be saved is said."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import small_disk
from tests.faults.harness import Stack, installed
from tests.faults.runs import SPEC, after_step, command, kept, outcome, timeline
from tests.services import wait_for

pytestmark = pytest.mark.faults

MIB = 1 << 20
PATIENCE = 2.0
#: Its checkpoints of 17 MB are larger than anything else that its trainer writes.
LARGE = {
    **SPEC,
    "architecture": {"name": "mlp", "hidden": [2000, 2000]},
    "optimizer": {"name": "SGD", "lr": 0.01},
    "scheduler": None,
    "ema": None,
    "steps": 200,
    "record": {"every": 1},
    "evaluate": {"every": 200, "modes": ["eval"]},
    "statistics": {"every": 200, "details": False},
    "checkpoint": {"every": 5, "keep_best": 0},
}


class Disk:
    """A small disk that a test fills to the brim."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more can be written in the block."""
        self.fill()
        try:
            yield
        finally:
            self.free()

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (MIB // 16, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def crowded(stack_kind, tmp_path_factory):
    """An installation whose store has a disk of its own, and that disk."""
    home = tmp_path_factory.mktemp(f"crowded-{stack_kind}")
    settings = {"storage_patience_seconds": PATIENCE, "max_attempts": 2}
    with small_disk(home / "store", 4 * MIB) as disk, installed(stack_kind, home, **settings) as stack:
        worker = stack.start_worker(wait=False)
        stack.start_api()
        worker.wait_until_ready()
        yield stack, Disk(disk)


@pytest.fixture
def counted(figures):
    """One try of a scenario, which survives if the block comes to its end; each of its jobs must succeed."""

    @contextlib.contextmanager
    def count(scenario: str, stack: Stack, *jobs: str) -> Iterator[None]:
        with figures.counting(scenario, stack) as tally:
            tally.tried, tally.ends = 1, dict.fromkeys(jobs, "succeeded")
            yield
            tally.survived = 1

    return count


def verify_all(stack, checkpoints) -> None:
    for checkpoint in checkpoints:
        for file in (checkpoint.state, *checkpoint.files.values()):
            stack.store.verify(file)


def refusals(client, job: str):
    return timeline(client, job, "storage_full")


def test_training_goes_on_without_a_periodic_checkpoint(crowded, reference, counted):
    stack, disk = crowded
    client, expected = stack.client(), reference.of(SPEC)
    job = client.submit(SPEC)
    with counted("the store is full at a periodic checkpoint", stack, job):
        wait_for(lambda: len(kept(stack, job)) > 1)
        with disk.full():
            refused = wait_for(lambda: refusals(client, job))[0]["data"]["step"]
            after_step(client, job, refused + 3 * SPEC["checkpoint"]["every"])
            before = kept(stack, job)
            assert before[0].row.step < refused
            verify_all(stack, before)
            assert len(refusals(client, job)) == 1, "said once, not at every try"
        assert client.wait(job)["status"] == "succeeded"
        stack.check_whole(job)
        assert outcome(stack, job) == expected


def test_the_last_checkpoint_waits_for_room(crowded, reference, counted):
    stack, disk = crowded
    client, expected = stack.client(), reference.of(SPEC)
    job = client.submit(SPEC)
    with counted("the store is full at the last checkpoint, for a moment", stack, job):
        wait_for(lambda: kept(stack, job))
        with disk.full():
            shown = after_step(client, job, SPEC["steps"])
            assert shown["status"] == "running"
        shown = client.wait(job)
        assert (shown["status"], shown["attempt"]) == ("succeeded", 1), shown["failure"]
        stack.check_whole(job)
        assert outcome(stack, job) == expected


@pytest.mark.usefixtures("only_long")
def test_a_job_that_cannot_be_saved_fails_and_goes_on_by_a_retry(crowded, reference, counted):
    stack, disk = crowded
    client, expected = stack.client(), reference.of(SPEC)
    job = client.submit(SPEC)
    with counted("the store stays full: the job fails, and is retried", stack, job):
        wait_for(lambda: kept(stack, job))  # early: what is left must outlast the filling of the disk
        with disk.full():
            shown = client.wait(job)
            failure = shown["failure"]
            assert (shown["status"], shown["attempt"], failure["code"]) == ("failed", 2, "storage_full"), failure
            assert failure["retryable"]
            assert "no room" in failure["message"]
            assert "Make room" in failure["hint"]
            saved = kept(stack, job)
            verify_all(stack, saved)
        command(client, job, "retry")
        assert client.wait(job)["status"] == "succeeded"
        assert timeline(client, job, "resumed")[-1]["data"]["step"] == saved[0].row.step
        stack.check_whole(job)
        assert outcome(stack, job) == expected


def recalibrated(client, job: str):
    """The file at its end."""
    answer = client.http.post(f"/v1/jobs/{job}/recalibrate", json={})
    assert answer.status_code == 202, answer.text

    def ended():
        artifact = client.get(answer.headers["Location"])
        return artifact if artifact["status"] != "pending" else None

    return wait_for(ended, timeout=60, every=0.05)


def test_a_recalibration_without_room_fails_and_says_why(crowded, counted):
    stack, disk = crowded
    client = stack.client()
    job = client.run(SPEC, steps=20)["id"]
    with counted("the store is full at a recalibration", stack, job):
        with disk.full():
            artifact = recalibrated(client, job)
            failure = artifact["failure"]
            assert (artifact["status"], failure["code"]) == ("failed", "storage_full")
            assert "no room" in failure["message"]
            assert "ask for the file again" in failure["hint"]
            verify_all(stack, kept(stack, job))
            inputs = {"data": {"source": "inputs", "inputs": [[[[0.0] * 8] * 8]] * 64}}
            answer = client.http.post(f"/v1/jobs/{job}/recalibrate", json=inputs)
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_full")
            assert int(answer.headers["Retry-After"]) > 0
        assert recalibrated(client, job)["status"] == "ready"


@pytest.mark.usefixtures("only_long")
def test_files_that_a_process_may_not_write_are_a_full_store_too(stack, reference, counted):
    client, expected = stack.client(), reference.of(LARGE)
    job = client.submit(LARGE)
    with counted("a checkpoint is larger than a process may write", stack, job):
        wait_for(lambda: kept(stack, job))
        (trainer,) = stack.workers[-1].trainers()
        # Below a checkpoint and above the database.
        before = resource.prlimit(trainer, resource.RLIMIT_FSIZE, (12 * MIB, resource.RLIM_INFINITY))
        refused = wait_for(lambda: refusals(client, job))[0]["data"]
        assert "limit on the size of files" in refused["message"]
        after_step(client, job, refused["step"] + 5)
        verify_all(stack, kept(stack, job))
        resource.prlimit(trainer, resource.RLIMIT_FSIZE, before)
        assert client.wait(job)["status"] == "succeeded"
        assert len(refusals(client, job)) == 1
        stack.check_whole(job)
        assert outcome(stack, job) == expected
