"""The probes that a spec asks for."""

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from db.spec import probes as parts
from worker.data.batches import Data
from worker.data.order import BatchOrder
from worker.probes.base import Probe, Probes
from worker.probes.covariate_shift import CovariateShift
from worker.probes.geometry import Geometry
from worker.probes.landscape import Landscape


def make_probes(spec: Iterable[parts.Probe], data: Data, order: BatchOrder, at_once: int) -> Probes:
    """The probes of a run; `at_once` is how many samples a forward pass may take without gradients."""
    return Probes([_make(part, data, order, at_once) for part in spec])


def _make(part: parts.Probe, data: Data, order: BatchOrder, at_once: int) -> Probe:
    match part:
        case parts.Landscape():
            return Landscape(**part.model_dump(exclude={"name"}))
        case parts.CovariateShift():
            return CovariateShift(every=part.every)
        case parts.Geometry():
            # Beside what an evaluation holds, half as much again: distances are sorted for their median.
            most = min(max(2, at_once // 2), len(data.gap))
            rows = torch.arange(min(part.samples, most), device=data.gap.targets.device)

            def batches() -> Iterator[Tensor]:
                """Whole ones, as training draws them, of the epoch that it leaves to measurements."""
                whole = (chosen for chosen in order.epoch(0) if len(chosen) == order.size)
                return (data.train.batch(chosen)[0] for chosen in islice(whole, part.batches))

            return Geometry(every=part.every, radius=part.radius, inputs=data.gap.batch(rows)[0], batches=batches)
