"""What a job may hold is decided on the spec's word for how much its probes hold: it is not too little."""

import copy

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from db.spec import probes as parts
from tests.worker.support import make_run
from worker.probes.base import State

WIDE = {"name": "mlp", "hidden": [1500, 1500], "activation": "relu"}


def most_live_bytes(measure) -> int:
    """The most that the tensors made by the call hold at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        measure()
    live = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            most = max(most, live)
    return most


@pytest.mark.parametrize(
    "part",
    [
        parts.Landscape(name="landscape", points=3),
        parts.CovariateShift(name="covariate_shift"),
        parts.Geometry(name="geometry", samples=8, batches=2),
    ],
    ids=lambda part: part.name,
)
def test_a_probe_holds_no_more_copies_of_the_parameters_than_its_part_says(digits, part):
    run = make_run(digits, architecture=WIDE, norm={"name": "batch"}, batch_size=4, probes=[part.model_dump()])
    (probe,) = run.probes._probes
    inputs, targets = run.data.train.batch(torch.arange(4))
    state = State(
        before=copy.deepcopy(run.model),
        after=run.model,
        inputs=inputs,
        targets=targets,
        lr=0.1,
        objective=run.objective,
    )
    held = most_live_bytes(lambda: probe.measure(state))
    parameters = sum(parameter.nbytes for parameter in run.model.parameters())
    # One is the copied model; a tenth is for what the layers give.
    assert held <= (part.copies - 0.9) * parameters
    assert held >= (part.copies - 2) * parameters
