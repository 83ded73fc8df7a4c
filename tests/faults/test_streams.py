"""Streams whose clients drop at random: each sees every line once."""

import asyncio
import json
import random

import httpx2

from api.settings import ApiSettings
from db import commands, migrate
from db.engine import Database
from tests.api.support import add_line, serving
from tests.api.test_bad_input import SPEC
from tests.services import free_port

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


def test_clients_that_drop_and_come_back_see_every_line_once(tmp_path):
    settings = ApiSettings(home=tmp_path, port=free_port())
    database = Database(settings.database_url)
    migrate.upgrade(database)
    with serving(settings) as url:
        job = httpx2.post(f"{url}/v1/jobs", json=SPEC).json()["id"]
        read = asyncio.run(follow_all(url, database, job))
    database.dispose()
    assert [seen for seen, _ in read] == [list(range(1, LINES + 3))] * CLIENTS
    assert sum(connects for _, connects in read) > 3 * CLIENTS
