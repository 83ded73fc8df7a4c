"""What a client asks for when the running averages of a trained model are to be estimated anew."""

from typing import Annotated, Literal

from pydantic import Field

from db.spec.base import Count, Part
from db.spec.job import JobSpec
from db.spec.lints.base import SpecWarning
from models.shapes import sites

#: Wu & Johnson 2021 (arXiv 2105.07576), section 3: from so many samples on, more hardly change anything.
ENOUGH_SAMPLES = 1000
#: One has no variance.
LEAST_SAMPLES = 2


class RecalibrationData(Part):
    """The inputs that the statistics are taken from; no label is read."""

    source: Literal["train", "test", "inputs"] = "train"
    """The job's training data; or, to adapt the model to unlabelled data as AdaBN does (Li et al. 2016, arXiv
    1603.04779), its test inputs, or inputs that the request brings."""


class Recalibration(Part):
    """Population statistics in the place of the running averages. Weights stay as they are."""

    mode: Literal["batch", "sequential"] = "sequential"
    """Layer by layer in eval mode, which is exact for every layer and takes a pass for each; or in one pass with
    batch statistics (Wu & Johnson 2021, arXiv 2105.07576)."""
    samples: Annotated[int, Field(strict=True, ge=LEAST_SAMPLES, le=1_000_000)] = 10_000
    """Take at most so many, the same fixed choice every time; 1,000 to 10,000 suffice."""
    batch_size: Annotated[Count, Field(ge=2)] | None = None
    """Samples of a forward pass. Null: with mode batch the job's own, as it is what normalization sees there; else
    as many as an evaluation takes."""
    weights: Literal["raw", "ema"] = "raw"
    """The trained weights, or their average."""
    data: RecalibrationData = RecalibrationData()


def why_nothing_to_recalibrate(spec: JobSpec) -> str | None:
    """Why the job's network has no running averages; None if it has some."""
    if not hasattr(spec.norm, "momentum") or not getattr(spec.norm, "normalize", True):
        return "keeps no running averages"
    if not getattr(spec.norm, "track", True):
        return "has 'track' false and keeps no running averages"
    return None if sites(spec.blueprint()) else "has no site in its network"


def own_samples(spec: JobSpec) -> dict[str, int]:
    """How many samples the job's own data have, by source."""
    return {"train": spec.dataset.train_samples, "test": spec.dataset.test_samples}


def warnings(request: Recalibration, spec: JobSpec, *, step: int, inputs: int | None) -> list[SpecWarning]:
    """What is taken but may not be meant.

    `step` is that of the checkpoint, `inputs` how many samples the request brings, if it does.
    """
    found = [_few_samples(request, spec, inputs), _frozen(spec, step)]
    if request.data.source in _ADAPTED:
        code, message = _ADAPTED[request.data.source]
        found.append(SpecWarning(code=code, pointer="/data/source", message=message))
    return [warning for warning in found if warning is not None]


_ADAPTED = {
    "test": (
        "test_data_used",
        "The statistics are those of the test inputs: the test metrics of this model are no longer a measure on "
        "unseen data.",
    ),
    "inputs": (
        "adapted_to_inputs",
        "The statistics follow the inputs of the request: on other data, the job's own test data among them, the "
        "model may be worse than before.",
    ),
}


def _few_samples(request: Recalibration, spec: JobSpec, inputs: int | None) -> SpecWarning | None:
    used = min(request.samples, inputs or own_samples(spec)[request.data.source])
    if used >= ENOUGH_SAMPLES:
        return None
    message = f"{used} samples leave noise in the statistics; {ENOUGH_SAMPLES:,} or more are advised."
    pointer = "/samples" if used == request.samples else "/data/source"
    return SpecWarning(code="few_samples", pointer=pointer, message=message)


def _frozen(spec: JobSpec, step: int) -> SpecWarning | None:
    freeze_after = getattr(spec.norm, "freeze_after", None)
    if freeze_after is None or freeze_after >= step:
        return None
    message = (
        f"From step {freeze_after} on the weights were trained against the statistics that are stored; new ones "
        "make another function of the network than the one that was trained."
    )
    return SpecWarning(code="trained_frozen", pointer="/norm/freeze_after", message=message)
