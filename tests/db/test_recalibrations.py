"""What may be recalibrated, what is warned of, and which file is the model with population statistics."""

import pytest

from db import afterwork, checkpoints, jobs, lease, recalibrations
from db.base import now
from db.errors import (
    ArtifactPending,
    NoAveragedWeights,
    NoModelYet,
    NotFound,
    NothingToRecalibrate,
    NotRecalibratedYet,
    TransitionRefused,
)
from db.spec.job import JobSpec
from db.spec.recalibration import Recalibration, warnings, why_nothing_to_recalibrate
from db.status import FINAL, ArtifactSource, ArtifactStatus
from db.store import StoredFile
from db.tables import Artifact
from models.catalog.names import NormName
from tests.db.support import change_job, claim, claimed_job, make_spec, new_job, state_of
from tests.db.test_afterwork import FAILURE, artifact_of, ask, ended_job
from tests.db.test_afterwork import claim as claim_work


def make(database, artifact_id: str) -> None:
    """As a worker would; the oldest work must be this file."""
    hold = claim_work(database)
    assert hold.artifact_id == artifact_id
    stored = StoredFile(key=artifact_id, sha256="b" * 64, size_bytes=7)
    with database.write() as session:
        afterwork.finish(session, hold, stored, {})


def precise(database, job_id: str, weights: str = "raw") -> str:
    with database.read() as session:
        return recalibrations.precise_model(session, jobs.get(session, job_id), weights).id


def test_a_request_is_a_pending_file_of_the_newest_checkpoint(database):
    job_id = ended_job(database, 5, 9)
    artifact = artifact_of(database, ask(database, job_id, mode="batch", samples=2000))
    assert (artifact.source, artifact.status) == (ArtifactSource.RECALIBRATION, ArtifactStatus.PENDING)
    assert (artifact.step, artifact.filename) == (9, "model-recalibrated-1.safetensors")
    assert artifact.request["mode"] == "batch"
    assert Recalibration.model_validate(artifact.request).samples == 2000
    with database.read() as session:
        original = recalibrations.original_of(session, artifact)
        assert original.id == checkpoints.model(session, jobs.get(session, job_id), "safetensors").id


def test_every_request_is_a_file_of_its_own_and_the_model_stays_the_trained_one(database):
    job_id = ended_job(database, 5)
    names = {artifact_of(database, ask(database, job_id)).filename for _ in range(3)}
    assert names == {f"model-recalibrated-{number}.safetensors" for number in (1, 2, 3)}
    with database.read() as session:
        assert checkpoints.model(session, jobs.get(session, job_id), "safetensors").source == "training"
        assert len(checkpoints.artifacts(session, job_id)) == 4


def test_what_cannot_be_recalibrated_is_refused(database):
    with pytest.raises(NotFound):
        ask(database, "job_" + "0" * 32)
    with pytest.raises(NoModelYet):
        ask(database, ended_job(database))
    queued = new_job(database)
    for job_id in (queued, claim(database).job_id):
        with pytest.raises(TransitionRefused) as refused:
            ask(database, job_id)
        assert refused.value.allowed == [status.value for status in FINAL]
    layered = ended_job(database, 5)
    change_job(database, layered, resolved=make_spec(norm={"name": "layer"}).resolved().to_json())
    with pytest.raises(NothingToRecalibrate, match="'layer'"):
        ask(database, layered)


RUNNING = {
    NormName.BATCH,
    NormName.SYNC_BATCH,
    NormName.GHOST_BATCH,
    NormName.BATCH_RENORM,
    NormName.NOISY_BATCH,
    NormName.LP_BATCH,
}


@pytest.mark.parametrize(
    "name", [*sorted(RUNNING), NormName.NONE, NormName.LAYER, NormName.FROZEN_BATCH, NormName.WEIGHT]
)
def test_norms_with_running_averages_have_something_to_recalibrate(name):
    assert (why_nothing_to_recalibrate(make_spec(norm={"name": name})) is None) == (name in RUNNING)


def test_a_norm_that_does_not_track_has_nothing_to_recalibrate():
    why = why_nothing_to_recalibrate(make_spec(norm={"name": "batch", "track": False}))
    assert "'track' false" in why
    why = why_nothing_to_recalibrate(make_spec(norm={"name": "noisy_batch", "normalize": False}))
    assert why == "keeps no running averages"


def codes(request: dict, spec: JobSpec, inputs: int | None = None, step: int = 1000) -> set[str]:
    found = warnings(Recalibration.model_validate(request), spec, step=step, inputs=inputs)
    return {warning.code for warning in found}


@pytest.mark.parametrize(
    ("request_", "inputs", "found"),
    [
        ({}, None, set()),
        ({"samples": 1000}, None, set()),
        ({"samples": 999}, None, {"few_samples"}),
        ({"data": {"source": "test"}}, None, {"test_data_used", "few_samples"}),  # digits has 360 of them
        ({"data": {"source": "inputs"}}, 2000, {"adapted_to_inputs"}),
        ({"data": {"source": "inputs"}}, 10, {"adapted_to_inputs", "few_samples"}),
    ],
)
def test_what_may_not_be_meant_is_said(request_, inputs, found):
    assert codes(request_, make_spec(), inputs) == found


@pytest.mark.parametrize(("freeze_after", "found"), [(None, set()), (999, {"trained_frozen"}), (1000, set())])
def test_weights_that_were_trained_against_the_stored_statistics_are_warned_of(freeze_after, found):
    assert codes({}, make_spec(norm={"name": "batch", "freeze_after": freeze_after})) == found


def test_the_precise_model_is_the_newest_ready_one_of_the_training_data(database):
    job_id = ended_job(database, 5)
    with pytest.raises(NotRecalibratedYet, match=f"POST /v1/jobs/{job_id}/recalibrate"):
        precise(database, job_id)
    first = ask(database, job_id)
    with pytest.raises(ArtifactPending, match=first):
        precise(database, job_id)
    make(database, first)
    adapted = ask(database, job_id, data={"source": "test"})
    make(database, adapted)
    assert precise(database, job_id) == first
    second = ask(database, job_id)
    assert precise(database, job_id) == first
    make(database, second)
    assert precise(database, job_id) == second


def test_averaged_weights_have_recalibrations_of_their_own(database):
    plain = ended_job(database, 5)
    with pytest.raises(NoAveragedWeights):
        ask(database, plain, weights="ema")
    with pytest.raises(NoAveragedWeights):
        precise(database, plain, "ema")
    job_id = ended_job(database, 5, files=("model.safetensors", "model-ema.safetensors"))
    raw, averaged = ask(database, job_id), ask(database, job_id, weights="ema")
    for artifact_id in (raw, averaged):
        make(database, artifact_id)
    assert (precise(database, job_id), precise(database, job_id, "ema")) == (raw, averaged)
    with database.read() as session:
        originals = {
            artifact_id: recalibrations.original_of(session, checkpoints.artifact(session, artifact_id)).filename
            for artifact_id in (raw, averaged)
        }
    assert originals == {raw: "model.safetensors", averaged: "model-ema.safetensors"}


def test_a_failed_recalibration_is_no_model(database):
    job_id = ended_job(database, 5)
    ask(database, job_id)
    with database.write() as session:
        afterwork.fail(session, afterwork.claim(session, 30.0), FAILURE)
    with pytest.raises(NotRecalibratedYet):
        precise(database, job_id)


def test_a_deletion_takes_recalibrations_along_and_pruning_leaves_them(database):
    hold = claimed_job(database)
    for step in (1, 2):
        stored = StoredFile(key=f"{step}", sha256="a" * 64, size_bytes=1)
        model = checkpoints.ModelFile(format="safetensors", filename="model.safetensors", stored=stored)
        with database.write() as session:
            checkpoints.commit(session, hold, state_of(hold, step, state=stored, files=[model]))
    with database.write() as session:
        old = checkpoints.list_for(session, hold.job_id)[1].id
        values = {"job_id": hold.job_id, "checkpoint_id": old, "source": "recalibration", "request": {}, "step": 1}
        values |= {"format": "safetensors", "media_type": "x", "attempt": 0, "lost_attempts": 0}
        values |= {"created_at": now()}
        made = {"status": "ready", "store_key": "made", "sha256": "b" * 64, "size_bytes": 1}
        session.add(Artifact(id="art_1", filename="1", **values, **made))
        session.add(Artifact(id="art_2", filename="2", status="pending", inputs_key="inputs", **values))
    with database.write() as session:
        assert checkpoints.prune(session, hold, 1, 0) == []
        assert {"1", "made", "inputs"} < set(checkpoints.keys_of_job(session, hold.job_id))
    with database.write() as session:
        lease.begin(session, hold)
        lease.succeed(session, hold)
