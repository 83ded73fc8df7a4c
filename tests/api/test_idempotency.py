"""A POST with a key may be sent again: it creates once, and every answer is the first one's."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import httpx2
import pytest
import sqlalchemy as sa

from api.settings import ApiSettings
from db import idempotency, lease, migrate
from db.engine import Database
from db.service_tables import IdempotencyKey
from db.tables import Artifact, Checkpoint, Job, Outbox
from tests.api.support import serving
from tests.api.test_bad_input import SPEC, problem
from tests.db.conftest import BACKENDS, in_schema
from tests.db.support import change_job, claim, commit
from tests.services import free_port, wait_for


def answers(server: Database) -> bool:
    """A Postgres takes connections a moment before it answers."""
    with contextlib.suppress(sa.exc.OperationalError), server.engine.connect():
        return True
    return False


@contextlib.contextmanager
def new_schema(url: str):
    server, schema = Database(url), f"normlab_test_{uuid4().hex}"
    wait_for(lambda: answers(server))
    with server.engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    yield in_schema(url, schema)
    with server.engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    server.dispose()


@pytest.fixture(scope="module", params=BACKENDS)
def service(request, tmp_path_factory):
    """Address, database and store of a server on each of the databases."""
    with contextlib.ExitStack() as stack:
        url = ""
        if request.param == "postgres":
            url = stack.enter_context(new_schema(request.getfixturevalue("postgres_url")))
        settings = ApiSettings(home=tmp_path_factory.mktemp("once"), port=free_port(), database_url=url)
        opened = Database(settings.database_url)
        stack.callback(opened.dispose)
        migrate.upgrade(opened)
        yield stack.enter_context(serving(settings)), opened, settings.home / "store"


@pytest.fixture
def database_of(service) -> Database:
    return service[1]


@pytest.fixture
def client(service):
    with httpx2.Client(base_url=service[0], timeout=60) as opened:
        yield opened


def new_key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def count(database: Database, table=Job) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table))


def age(database: Database, key: dict[str, str], **by: int) -> None:
    """Make the key older."""
    with database.write() as session:
        row = session.get_one(IdempotencyKey, key["Idempotency-Key"])
        row.created_at -= timedelta(**by)


def test_a_repeated_request_creates_nothing_and_gets_the_same_answer(client, database_of):
    key, before = new_key(), count(database_of)
    first, again = (client.post("/v1/jobs", json=SPEC, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert count(database_of) == before + 1


def test_of_two_hundred_requests_at_a_time_one_creates(service, database_of):
    key, before, start = new_key(), count(database_of), threading.Barrier(20)

    def post_ten(_: int):
        with httpx2.Client(base_url=service[0], timeout=60) as client:
            start.wait()
            return [client.post("/v1/jobs", json=SPEC, headers=key) for _ in range(10)]

    with ThreadPoolExecutor(20) as threads:
        answers = [answer for ten in threads.map(post_ten, range(20)) for answer in ten]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert count(database_of) == before + 1
    with database_of.read() as session:
        message = session.get_one(Outbox, answers[0].json()["id"])
        assert message.sent_at is not None


def test_a_key_belongs_to_one_request(client, database_of):
    key = new_key()
    client.post("/v1/jobs", json=SPEC, headers=key)
    before = count(database_of)
    for path, body in (("/v1/jobs", {**SPEC, "steps": 11}), ("/v1/jobs?priority=1", SPEC)):
        document = problem(client.post(path, json=body, headers=key), 422)
        assert document["code"] == "idempotency_key_reused"
    assert count(database_of) == before


def test_a_request_that_is_refused_leaves_its_key_free(client):
    key = new_key()
    problem(client.post("/v1/jobs", json={**SPEC, "steps": 0}, headers=key), 422)
    assert client.post("/v1/jobs", json=SPEC, headers=key).status_code == 201


def test_a_key_is_new_again_after_a_day(client, database_of):
    key = new_key()
    first = client.post("/v1/jobs", json=SPEC, headers=key)
    age(database_of, key, hours=23)
    assert client.post("/v1/jobs", json=SPEC, headers=key).content == first.content
    age(database_of, key, hours=1)
    later = client.post("/v1/jobs", json={**SPEC, "steps": 11}, headers=key)
    assert later.status_code == 201
    assert later.json()["id"] != first.json()["id"]
    assert client.post("/v1/jobs", json={**SPEC, "steps": 11}, headers=key).content == later.content


def test_a_purge_forgets_the_keys_that_are_too_old(client, database_of):
    old, young = new_key(), new_key()
    for key in (old, young):
        client.post("/v1/jobs", json=SPEC, headers=key)
    age(database_of, old, hours=25)
    with database_of.write() as session:
        idempotency.purge(session)
    with database_of.read() as session:
        assert session.get(IdempotencyKey, old["Idempotency-Key"]) is None
        assert session.get(IdempotencyKey, young["Idempotency-Key"]) is not None


@pytest.mark.parametrize("service", ["postgres"], indirect=True)
def test_a_first_request_that_takes_too_long_is_said_to_be_running(client, database_of, monkeypatch):
    monkeypatch.setattr(idempotency, "PATIENCE_MS", 100)
    key = new_key()
    with database_of.write() as session:  # as the first would, before its commit
        assert idempotency.claim(session, key["Idempotency-Key"], "0" * 64) is None
        answer = client.post("/v1/jobs", json=SPEC, headers=key)
        session.rollback()
    assert problem(answer, 409)["code"] == "idempotency_key_in_use"
    assert int(answer.headers["Retry-After"]) > 0
    assert client.post("/v1/jobs", json=SPEC, headers=key).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256], ids=["empty", "space", "umlaut", "long"])
def test_a_key_that_cannot_be_one_is_refused(http, key):
    document = problem(http.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": key.encode()}), 422)
    assert (document["code"], document["errors"][0]["pointer"]) == ("invalid_header", "Idempotency-Key")


@pytest.fixture
def ended(client, database_of) -> str:
    """A job of the past with a saved model."""
    job_id = client.post("/v1/jobs", json={**SPEC, "norm": {"name": "batch"}}).json()["id"]
    change_job(database_of, job_id, priority=1)
    hold = claim(database_of)
    with database_of.write() as session:
        lease.start_from(session, hold, 0, 0)
        lease.begin(session, hold)
    commit(database_of, hold, 1)
    with database_of.write() as session:
        lease.succeed(session, hold)
    return job_id


def test_a_repeated_recalibration_has_the_same_file_and_leaves_no_inputs(service, client, database_of, ended):
    key, before, start = new_key(), count(database_of, Artifact), threading.Barrier(4)
    # (2, 1, 8, 8), the shape of digits.
    body = {"data": {"source": "inputs", "inputs": [[[[float(i + j) for i in range(8)] for j in range(8)]]] * 2}}

    def order(_: int):
        start.wait()
        return client.post(f"/v1/jobs/{ended}/recalibrate", json=body, headers=key)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(order, range(4)))
    assert {answer.status_code for answer in answers} == {202}, answers[0].text
    assert len({answer.content for answer in answers}) == 1
    assert {answer.headers["Retry-After"] for answer in answers} == {"2"}
    assert count(database_of, Artifact) == before + 1
    assert len(list((service[2] / "inputs").glob("*"))) == 1


def test_a_repeated_recalibration_is_answered_although_it_would_not_be_taken_now(client, database_of, ended):
    key = new_key()
    first = client.post(f"/v1/jobs/{ended}/recalibrate", headers=key)
    assert first.status_code == 202, first.text
    with database_of.write() as session:
        session.execute(sa.delete(Checkpoint).where(Checkpoint.job_id == ended))
    assert client.post(f"/v1/jobs/{ended}/recalibrate", headers=key).content == first.content
    problem(client.post(f"/v1/jobs/{ended}/recalibrate"), 409)
