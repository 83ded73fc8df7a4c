"""Population statistics in the place of a trained model's running averages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from db.spec.job import JobSpec
from db.spec.recalibration import Recalibration
from models.memory import eval_batch
from models.norms.base import RunningNorm
from models.shapes import largest_output, sites
from worker import precise
from worker.assembly import make_run
from worker.data.batches import FIXED_SEED, Data, Samples
from worker.data.cache import CachedData
from worker.device import choose_device
from worker.drift import drift_of
from worker.errors import DataError
from worker.precise import Population
from worker.sequential import sequential
from worker.statistics import norm_of

Inputs = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Recalibrated:
    """A model with other statistics, on the host, and what is to be said of it: plain JSON values."""

    weights: dict[str, Tensor]
    result: dict[str, Any]


def recalibrate(
    spec: JobSpec,
    request: Recalibration,
    weights: dict[str, Tensor],
    cached: CachedData,
    inputs: Inputs | None = None,
) -> Recalibrated:
    """Estimate the population statistics of a trained model; weights and counts of batches stay as they are.

    Args:
        spec: the job's, resolved.
        request: what is wanted.
        weights: the model's state, by torch's names.
        cached: the job's data set.
        inputs: raw values of the request's own samples, (N, C, H, W).

    Raises:
        DataError: the statistics are not finite.
        DeviceUnavailable: this machine has not the device that the job asks for.
    """
    run = make_run(_for_evaluation(spec), cached, choose_device(spec.device))
    run.model.load_state_dict(weights)
    norms = {
        site.name: norm
        for site in sites(spec.blueprint())
        if isinstance(norm := norm_of(run.model, site), RunningNorm)
    }
    samples = _chosen(spec, run.data, request, inputs)
    before = run.evaluator.evaluate().metrics
    batches = _passes(samples, _batch_size(spec, request))
    if request.mode == "sequential":
        population = sequential(run.model, list(norms.values()), batches)
    else:
        population = precise.estimate(run.model, list(norms.values()), batches())
    found = dict(zip(norms, population, strict=True))
    _check_finite(found)
    with precise.substituted(list(norms.values()), population):
        after = run.evaluator.evaluate().metrics
        state = {name: value.detach().cpu().clone() for name, value in run.model.state_dict().items()}
    result = {
        "samples": len(samples),
        "before": _shown(before),
        "after": _shown(after),
        "drift": {site: _shown(_drift(norm, found[site])) for site, norm in norms.items()},
    }
    return Recalibrated(weights=state, result=result)


def _for_evaluation(spec: JobSpec) -> JobSpec:
    """The spec without what takes no part here and would cost time and memory."""
    evaluate = spec.evaluate.model_copy(update={"modes": ("eval",)})
    return spec.model_copy(update={"evaluate": evaluate, "ema": None, "probes": ()})


def _batch_size(spec: JobSpec, request: Recalibration) -> int:
    """Samples of a forward pass; where nothing depends on them, as many as an evaluation takes."""
    if request.batch_size is not None or request.mode == "batch":
        return request.batch_size or spec.batch_size
    return eval_batch(largest_output(spec.blueprint()))


def _chosen(spec: JobSpec, data: Data, request: Recalibration, inputs: Inputs | None) -> Samples:
    """The samples that the statistics are taken from, prepared as the job prepares its data."""
    if inputs is None:
        samples = data.test if request.data.source == "test" else data.train
    else:
        # Binarized data lie in the cache as such; all else is done to each batch.
        raw = inputs >= spec.dataset.info.threshold if spec.dataset.binarize else inputs
        placed = torch.from_numpy(raw).to(data.train.inputs.device)
        samples = replace(data.train, inputs=placed, targets=data.train.targets.new_zeros(len(placed)))
    return samples.limited(request.samples)


def _passes(samples: Samples, size: int) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """All samples in batches, the same at every call; a single last one joins the batch before it.

    Shuffled: mode batch would otherwise see batches of one class where the samples come class by class.
    """
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(FIXED_SEED))
    parts = list(order.to(samples.targets.device).split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return lambda: map(samples.batch, parts)


def _check_finite(found: dict[str, Population]) -> None:
    for site, population in found.items():
        # As it is stored: what was estimated in float64 may be too large.
        if not all(torch.isfinite(values.float()).all() for values in population.values()):
            raise DataError(
                f"The statistics of site {site} are not finite numbers with these inputs.",
                "The values at that site are too large for float32. Look at the job's own statistics of it.",
            )


def _drift(norm: RunningNorm, population: Population) -> dict[str, float]:
    """How far the running averages were from the population: means over channels of delta, rho and kl."""
    stored = {moment: values for moment, _, values in norm.running()}
    found = drift_of(norm, stored, population)
    return {name.removeprefix("drift."): values.mean().item() for name, values in found.items()}


def _shown(numbers: dict[str, float]) -> dict[str, float | str]:
    """Numbers for JSON, which has none that are not finite."""
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return {name: words.get(str(float(value)), float(value)) for name, value in numbers.items()}
