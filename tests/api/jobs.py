"""Jobs in every state, made through the API and, where a worker would act, through the database."""

from db import checkpoints, lease
from db.engine import Database
from db.lease import Failure, Hold
from db.status import FailureCode
from db.store import Store
from tests.api.test_bad_input import SPEC
from tests.db.support import change_job, state_of

FAILURE = Failure(code=FailureCode.DIVERGED, message="The loss became nan.", hint="Lower the rate.", step=3)


def post(http, **changes) -> str:
    answer = http.post("/v1/jobs", json={**SPEC, "norm": {"name": "batch"}, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def claim(database: Database, job_id: str) -> Hold:
    """Of the jobs that wait, this one."""
    change_job(database, job_id, priority=1000)
    with database.write() as session:
        hold = lease.claim(session, "test", 60)
    assert hold.job_id == job_id
    change_job(database, job_id, priority=0)
    return hold


def running(http, database: Database, **changes) -> Hold:
    hold = claim(database, post(http, **changes))
    begin(database, hold)
    return hold


def begin(database: Database, hold: Hold, start_step: int = 0) -> None:
    with database.write() as session:
        lease.start_from(session, hold, start_step, 0)
        lease.begin(session, hold)


def save(database: Database, store: Store, hold: Hold, step: int, score: float | None = None) -> None:
    """A checkpoint whose files lie in the store; each holds its own key."""
    wanted = state_of(hold, step, score)
    state = store.put(wanted.state.key, wanted.state.key.encode())
    files = [
        checkpoints.ModelFile(
            format=file.format,
            filename=file.filename,
            stored=store.put(file.stored.key, file.stored.key.encode()),
        )
        for file in wanted.files
    ]
    with database.write() as session:
        checkpoints.commit(session, hold, state_of(hold, step, score, state=state, files=files))


def end(database: Database, hold: Hold, how=lease.succeed) -> None:
    with database.write() as session:
        how(session, hold)


def fail(session, hold: Hold) -> None:
    lease.fail(session, hold, FAILURE)
