"""Streams whose clients drop at random: each sees every line once."""

import asyncio
import json
import random

import httpx2
import pytest

from db import commands
from db.engine import Database
from tests.api.support import add_line
from tests.faults.runs import SPEC, timeline

pytestmark = pytest.mark.faults

CLIENTS = 100
LINES = 24


async def follow(http: httpx2.AsyncClient, path: str, chance: random.Random) -> tuple[list[int], int]:
    """The ids of all events, as a browser would read them, and how often it connected."""
    seen: list[int] = []
    for connects in range(1, 1000):
        headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
        async with http.stream("GET", path, headers=headers) as answer:
            if answer.status_code == 204:
                return seen, connects
            assert answer.status_code == 200
            patience = chance.randint(1, 15)
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                elif line.startswith("id: "):
                    assert int(line.removeprefix("id: ")) == data["seq"]
                    seen.append(data["seq"])
                    patience -= 1
                if patience == 0:
                    break
    raise AssertionError("no end")


async def write(database: Database, job: str) -> None:
    for number in range(LINES):
        await asyncio.to_thread(add_line, database, job, number=number)
        await asyncio.sleep(0.05)
    with database.write() as session:
        commands.cancel(session, job)


async def follow_all(url: str, database: Database, job: str) -> list[tuple[list[int], int]]:
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        clients = [follow(http, f"/v1/jobs/{job}/events/stream", random.Random(seed)) for seed in range(CLIENTS)]
        *read, _ = await asyncio.gather(*clients, write(database, job))
        return read


def test_clients_that_drop_and_come_back_see_every_line_once(stack, figures):
    client = stack.client()
    with figures.counting(f"{CLIENTS} streams whose clients drop", stack) as tally:
        job = client.submit(SPEC, steps=10**6, evaluate={"every": 10**4})
        tally.tried, tally.ends[job] = CLIENTS, "cancelled"
        read = asyncio.run(follow_all(stack.url, stack.database(), job))
        written = [line["seq"] for line in timeline(client, job)]
        tally.survived = sum(seen == written for seen, _ in read)
        tally.note = f"{len(written)} lines, {sum(connects for _, connects in read)} connections"
        assert len(written) > LINES
        assert [seen for seen, _ in read] == [written] * CLIENTS
        assert sum(connects for _, connects in read) > 3 * CLIENTS
