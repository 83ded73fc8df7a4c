"""normlab's loop against the loop that one would write by hand with torch's own layers."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.worker.support import Kept, make_run
from worker.trainer import Run, train

STEPS = 50
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


def by_hand(run: Run, spec: dict, batches: list[torch.Tensor]) -> tuple[nn.Module, list[float]]:
    """The same network from the same beginning, of stock layers, and its losses on the same batches."""
    layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    inputs = 64
    for depth, units in enumerate((8, 4), 1):
        batch = spec["norm"]["name"] == "batch"
        layers += [
            (f"linear{depth}", nn.Linear(inputs, units, bias=not batch)),
            (f"norm{depth}", nn.BatchNorm1d(units, momentum=0.2) if batch else nn.Identity()),
            (f"activation{depth}", ACTIVATIONS[spec["architecture"]["activation"]]()),
        ]
        inputs = units
    model = nn.Sequential(OrderedDict([*layers, ("output", nn.Linear(inputs, 10))]))
    model.load_state_dict(run.model.state_dict())
    arguments = {key: value for key, value in spec["optimizer"].items() if key != "name"}
    optimizer = getattr(torch.optim, spec["optimizer"]["name"])(model.parameters(), **arguments)
    samples, losses = run.data.train, []
    model.train()
    for rows in batches:
        loss = F.cross_entropy(model(samples.inputs[rows].float() / 16), samples.targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("norm", [{"name": "batch", "momentum": 0.2}, {"name": "none"}], ids=lambda n: n["name"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "SGD", "lr": 0.1, "momentum": 0.9},
        {"name": "AdamW", "lr": 0.01, "weight_decay": 0.0},
    ],
    ids=lambda optimizer: optimizer["name"],
)
def test_weights_and_losses_equal_those_of_a_plain_torch_loop(digits, norm, activation, optimizer):
    architecture = {"name": "mlp", "hidden": [8, 4], "activation": activation}
    spec = {"norm": norm, "optimizer": optimizer, "architecture": architecture}
    run = make_run(digits, steps=STEPS, seed=11, **spec)
    batches = [rows for epoch in (1, 2) for rows in run.order.epoch(epoch)][:STEPS]
    expected, losses = by_hand(run, spec, batches)

    reporter = Kept()
    assert train(run, reporter, lambda: None) is None
    found = reporter.snapshots[-1].weights
    assert found.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)
    assert reporter.series("train/loss").tolist() == pytest.approx(losses, rel=1e-5)
