"""The slot for work after jobs: files made in processes of their own, whatever happens to these."""

import hashlib

import numpy as np
import pytest
from safetensors.torch import load, save

from api.inputs import to_file
from db import afterwork, checkpoints, jobs, lease, recalibrations
from db.afterwork import WorkHold
from db.checkpoints import ModelFile
from db.engine import Database
from db.errors import FileMissing
from db.recalibrations import ClientInputs
from db.settings import WorkerSettings
from db.spec.recalibration import Recalibration
from db.status import ArtifactStatus
from db.store import Store
from db.tables import Artifact
from tests.db.support import change_job, claim, make_spec, state_of
from tests.worker.support import trained
from worker.afterwork import Afterwork
from worker.make_file import run_work
from worker.supervisor import Supervisor

LAGGING = {"norm": {"name": "batch", "momentum": 0.001}, "steps": 100, "device": "cpu"}


@pytest.fixture(scope="module")
def model(digits) -> bytes:
    """The file of a model that was really trained."""
    _, reporter = trained(digits, **LAGGING)
    return save(reporter.snapshots[-1].weights)


@pytest.fixture
def settings(database, tmp_path) -> WorkerSettings:
    return WorkerSettings(home=tmp_path, database_url=database.url.render_as_string(hide_password=False))


@pytest.fixture
def store(settings) -> Store:
    return Store(settings.store_url)


@pytest.fixture
def job_id(database, store, model) -> str:
    """The job that the model is of."""
    with database.write() as session:
        jobs.create(session, make_spec(**LAGGING))
    hold = claim(database)
    state, weights = store.put("state.pt", b"state"), store.put("model.safetensors", model)
    file = ModelFile(format="safetensors", filename="model.safetensors", stored=weights)
    with database.write() as session:
        checkpoints.commit(session, hold, state_of(hold, 100, state=state, files=[file]))
    with database.write() as session:
        lease.begin(session, hold)
        lease.succeed(session, hold)
    return hold.job_id


def ask(database: Database, job_id: str, inputs: ClientInputs | None = None, **request) -> str:
    with database.write() as session:
        return recalibrations.create(session, job_id, Recalibration.model_validate(request), inputs).id


def claim_work(database: Database, lease_seconds: float = 30.0) -> WorkHold:
    with database.write() as session:
        hold = afterwork.claim(session, lease_seconds)
    assert hold is not None
    return hold


def artifact_of(database: Database, artifact_id: str) -> Artifact:
    with database.read() as session:
        return checkpoints.artifact(session, artifact_id)


def made(database: Database, settings: WorkerSettings, artifact_id: str) -> Artifact:
    """The file, made in this process."""
    hold = claim_work(database)
    assert hold.artifact_id == artifact_id
    run_work(settings, hold)
    return artifact_of(database, artifact_id)


def test_a_file_is_made_in_a_process_of_its_own(database, settings, store, job_id):
    supervisor = Supervisor(settings, database)
    slot = Afterwork(settings, database, supervisor)
    assert not slot.run_next()
    artifact_id = ask(database, job_id)
    assert slot.run_next()
    artifact = artifact_of(database, artifact_id)
    assert (artifact.status, artifact.attempt, artifact.lost_attempts) == (ArtifactStatus.READY, 1, 0)
    file = checkpoints.stored_file(artifact)
    content = store.get(file.key)
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size_bytes)
    assert artifact.result["after"]["test/accuracy"] > artifact.result["before"]["test/accuracy"]
    assert artifact.result["seconds"] > 0
    assert not slot.run_next()


def test_work_under_way_at_a_stop_is_handed_back(database, settings, job_id):
    supervisor = Supervisor(settings, database)
    artifact_id = ask(database, job_id)
    supervisor.draining.set()
    assert Afterwork(settings, database, supervisor).run_next()
    artifact = artifact_of(database, artifact_id)
    assert (artifact.status, artifact.attempt, artifact.lost_attempts) == (ArtifactStatus.PENDING, 1, 0)
    assert artifact.lease_expires is None


def test_a_process_that_dies_is_replaced_until_the_tries_are_used_up(database, settings, store, job_id):
    inputs = store.put("inputs/1.npy", b"")
    artifact_id = ask(database, job_id, ClientInputs(key=inputs.key, samples=2), data={"source": "inputs"})
    # Its processes cannot even open the store.
    doomed = Supervisor(settings.model_copy(update={"store_url": "nowhere://"}), database)
    slot = Afterwork(settings, database, doomed)
    for lost in (1, 2):
        assert slot.run_next()
        artifact = artifact_of(database, artifact_id)
        assert (artifact.status, artifact.lost_attempts) == (ArtifactStatus.PENDING, lost)
    assert slot.run_next()
    artifact = artifact_of(database, artifact_id)
    assert (artifact.status, artifact.failure["code"]) == (ArtifactStatus.FAILED, "worker_lost")
    assert "exit code 1" in artifact.failure["message"]
    with pytest.raises(FileMissing):
        store.get(inputs.key)
    assert not slot.run_next()


def test_work_whose_worker_is_lost_is_done_by_another(database, settings, job_id):
    artifact_id = ask(database, job_id)
    lost = claim_work(database, lease_seconds=0.0)
    assert Afterwork(settings, database, Supervisor(settings, database)).run_next()
    artifact = artifact_of(database, artifact_id)
    assert (artifact.status, artifact.attempt, artifact.lost_attempts) == (ArtifactStatus.READY, 2, 1)
    assert lost.attempt == 1


def test_a_superseded_attempt_writes_nothing_and_leaves_nothing(database, settings, store, job_id):
    artifact_id = ask(database, job_id)
    stale = claim_work(database)
    with database.write() as session:
        afterwork.release(session, stale)
    holder = claim_work(database)
    run_work(settings, stale)
    artifact = artifact_of(database, artifact_id)
    assert (artifact.status, artifact.attempt) == (ArtifactStatus.PENDING, holder.attempt)
    assert not list(settings.home.glob(f"store/recalibrations/{artifact_id}/**/*.safetensors"))


def test_equal_requests_give_equal_files(database, settings, job_id):
    shas = {made(database, settings, ask(database, job_id)).sha256 for _ in range(2)}
    assert len(shas) == 1


def test_own_inputs_are_read_once_and_removed(database, settings, store, job_id):
    raw = np.arange(2 * 64, dtype=np.float32).reshape(2, 1, 8, 8) % 17
    inputs = store.put("inputs/1.npy", to_file(raw))
    brought = ClientInputs(key=inputs.key, samples=2)
    artifact = made(database, settings, ask(database, job_id, brought, data={"source": "inputs"}))
    assert (artifact.status, artifact.result["samples"]) == (ArtifactStatus.READY, 2)
    weights = load(store.get(artifact.store_key))
    with database.read() as session:
        linear1 = load(store.get(recalibrations.original_of(session, artifact).store_key))["linear1.weight"]
    mean = (linear1.double().numpy() @ (raw.reshape(2, 64).T / 16)).mean(1)
    np.testing.assert_allclose(weights["norm1.running_mean"].numpy(), mean, atol=1e-5)
    with pytest.raises(FileMissing):
        store.get(inputs.key)


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_a_model_that_the_store_lost_or_changed_is_a_failure_with_a_reason(
    database, settings, store, job_id, damage
):
    artifact_id = ask(database, job_id)
    with database.read() as session:
        key = recalibrations.original_of(session, checkpoints.artifact(session, artifact_id)).store_key
    if damage == "lost":
        store.delete([key])
    else:
        store.put(key, store.get(key)[:-1] + b"?")
    failure = made(database, settings, artifact_id).failure
    assert failure["code"] == "data_error"
    assert failure["hint"]


def test_a_spec_that_is_no_longer_taken_is_a_failure_as_such(database, settings, job_id):
    artifact_id = ask(database, job_id)
    with database.read() as session:
        resolved = jobs.get(session, job_id).resolved
    change_job(database, job_id, resolved=resolved | {"norm": {"name": "forgotten"}})
    assert made(database, settings, artifact_id).failure["code"] == "invalid_spec"
