"""Workers killed at random while an experiment runs: each cell is one finished job all the same."""

import os
import random
import signal
import time
from typing import Any

import pytest
from sqlalchemy import func, select

from db.experiments.tables import Cell
from db.tables import Job
from tests.faults.harness import Stack
from tests.faults.runs import SPEC
from tests.services import wait_for

pytestmark = pytest.mark.faults

#: Cells, and kills, of the short and the long form.
SHORT, LONG = (12, 2), (120, 20)
NORMS = ("none", "batch", "layer")
RATES = (0.003, 0.01)


def experiment(cells: int) -> dict[str, Any]:
    """Three norms, two learning rates, and seeds for so many cells."""
    base = {key: value for key, value in SPEC.items() if key != "norm"} | {"steps": 600}
    return {
        "name": f"{cells} cells",
        "base": base,
        "axes": {"norm": list(NORMS), "optimizer.lr": list(RATES)},
        "seeds": cells // (len(NORMS) * len(RATES)),
        "max_parallel": 8,
    }


def post(stack: Stack, body: dict[str, Any], expected: int) -> dict[str, Any]:
    answer = stack.client().http.post("/v1/experiments", json=body)
    assert answer.status_code == expected, answer.text
    return answer.json()


def kill_one(stack: Stack, chance: random.Random) -> str:
    """SIGKILL to a worker with all that it runs, or to one of its trainers."""
    (worker,) = stack.running_workers()
    trainers = worker.trainers()
    if trainers and chance.random() < 0.5:
        os.kill(chance.choice(trainers), signal.SIGKILL)
        return "trainer"
    worker.kill()
    stack.start_worker()
    return "worker"


def counted(stack: Stack, id: str) -> tuple[int, int, int]:
    """Cells, the jobs that they have, and all jobs that were made for the experiment."""
    made = select(func.count()).select_from(Job).where(Job.origin["experiment"].as_string() == id)
    cells = select(func.count(), func.count(Cell.job_id.distinct())).where(Cell.experiment_id == id)
    with stack.database().read() as session:
        every, with_job = session.execute(cells).one()
        return every, with_job, session.scalar(made)


def test_each_cell_is_one_finished_job_whoever_dies(stack, long, seed, figures):
    chance = random.Random(seed)
    cells, kills = LONG if long else SHORT
    with figures.counting("experiment under kills of workers", stack) as tally:
        made = post(stack, experiment(cells), 201)
        killed = []
        for _ in range(kills):
            time.sleep(chance.uniform(0, 2))
            killed.append(kill_one(stack, chance))
        client, path = stack.client(), f"/v1/experiments/{made['id']}"
        wait_for(lambda: client.get(path)["status"] == "completed", timeout=600, every=0.2)
        rows = [row for cursor in range(-1, cells - 1, 100) for row in cells_after(client, path, cursor)]
        tally.tried = cells
        tally.ends = dict.fromkeys((row["job"] for row in rows), "succeeded")
        tally.note = f"{killed.count('worker')} workers, {killed.count('trainer')} trainers killed"
        assert counted(stack, made["id"]) == (cells, cells, cells)
        for row in rows:
            stack.check_whole(row["job"])
            assert client.job(row["job"])["spec_hash"] == row["cell_id"]
            tally.survived += 1
        again = post(stack, experiment(cells), 200)
        assert (again["id"], again["added"], again["status"]) == (made["id"], 0, "completed")
        assert counted(stack, made["id"]) == (cells, cells, cells)


def cells_after(client, path: str, number: int) -> list[dict[str, Any]]:
    """A page of cells after that of a number."""
    query = {"cursor": number} if number >= 0 else {}
    return client.get(f"{path}/cells", limit=100, **query)["data"]
