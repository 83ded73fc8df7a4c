"""Landscape and covariate shift against their definitions, written out by hand in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.build import build
from models.norms.running import RunningAverages
from tests.db.support import make_spec
from worker.objective import Classification
from worker.probes.base import State
from worker.probes.covariate_shift import CovariateShift
from worker.probes.landscape import Landscape

BATCH, EPS = 12, 1e-5


def network(norm: str = "batch", **architecture):
    spec = make_spec(
        architecture={"name": "mlp", "hidden": [7, 5], "activation": "relu", **architecture}, norm={"name": norm}
    )
    torch.manual_seed(0)
    model = build(spec.blueprint()).double()
    RunningAverages(model.modules())  # views of one tensor, as in a run
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, mean=0.5)
    return model.train()


def step_of(model, lr: float = 0.3) -> State:
    """One step of SGD with momentum behind it, which is not a step along the gradient."""
    torch.manual_seed(1)
    inputs, targets = torch.randn(BATCH, 1, 8, 8, dtype=torch.float64), torch.randint(10, (BATCH,))
    after = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return State(before=model, after=after, inputs=inputs, targets=targets, lr=lr, objective=Classification())


def parameters_of(model) -> dict[str, Tensor]:
    return {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}


def loss_of(p: dict[str, Tensor], state: State) -> Tensor:
    """The network layer by layer; with batch norm where there are scales for it."""
    x = state.inputs.flatten(1)
    for number in (1, 2):
        x = x @ p[f"linear{number}.weight"].T + p.get(f"linear{number}.bias", 0)
        if f"norm{number}.weight" in p:
            mean, var = x.mean(0), ((x - x.mean(0)) ** 2).mean(0)
            x = (x - mean) / (var + EPS).sqrt() * p[f"norm{number}.weight"] + p[f"norm{number}.bias"]
        x = x.clamp_min(0)
    return F.cross_entropy(x @ p["output.weight"].T + p["output.bias"], state.targets)


def flat_gradient(p: dict[str, Tensor], state: State) -> np.ndarray:
    found = torch.autograd.grad(loss_of(p, state), list(p.values()))
    return torch.cat([each.flatten() for each in found]).numpy()


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_landscape_is_that_of_the_definition(norm):
    state = step_of(network(norm))
    found = Landscape(every=1, low=0.25, high=4.0, points=5, largest_step=0.7).measure(state)
    theta = parameters_of(state.before)
    gradient = flat_gradient(theta, state)
    losses, changes, slopes = [], [], []
    for a in (0.25, 0.5, 1.0, 2.0, 4.0):
        step = a * 0.7 / 4.0  # 4 * 0.3 would be more than the largest step
        shapes = [value.shape for value in theta.values()]
        parts = np.split(gradient, np.cumsum([shape.numel() for shape in shapes])[:-1])
        place = {
            name: (value.detach() - step * torch.tensor(part).view(shape)).requires_grad_()
            for (name, value), part, shape in zip(theta.items(), parts, shapes, strict=True)
        }
        losses.append(loss_of(place, state).item())
        changes.append(np.linalg.norm(gradient - flat_gradient(place, state)))
        slopes.append(changes[-1] / (step * np.linalg.norm(gradient)))
    expected = {
        "loss": loss_of(theta, state).item(),
        "loss_min": min(losses),
        "loss_max": max(losses),
        "gradient_norm": np.linalg.norm(gradient),
        "gradient_min": min(changes),
        "gradient_max": max(changes),
        "beta": max(slopes),
        "passes": 6,
    }
    assert found == pytest.approx(expected, rel=1e-10)


def test_steps_are_evenly_spaced_between_their_logarithms():
    probe = Landscape(every=1, low=0.5, high=4.0, points=4, largest_step=0.4)
    assert probe.steps(0.01) == pytest.approx([0.005, 0.01, 0.02, 0.04])
    assert probe.steps(0.1) == pytest.approx([0.05, 0.1, 0.2, 0.4])


@pytest.mark.parametrize("lr", [0.11, 1.0, 100.0])
def test_with_a_large_learning_rate_the_range_keeps_its_ratio_below_the_largest_step(lr):
    probe = Landscape(every=1, low=0.5, high=4.0, points=4, largest_step=0.4)
    assert probe.steps(lr) == pytest.approx([0.05, 0.1, 0.2, 0.4])
    free = Landscape(every=1, low=0.5, high=4.0, points=4, largest_step=None)
    assert free.steps(lr) == pytest.approx([0.5 * lr, lr, 2 * lr, 4 * lr])


def test_a_landscape_has_a_range_with_a_learning_rate_of_1():
    found = Landscape(every=1, low=0.5, high=4.0, points=3, largest_step=0.4).measure(step_of(network(), lr=1.0))
    assert found["loss_max"] > found["loss_min"]
    assert found["gradient_max"] > found["gradient_min"] > 0


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_covariate_shift_is_that_of_the_definition(norm):
    state = step_of(network(norm))
    found = CovariateShift(every=1).measure(state)
    order = ["linear1", "norm1", "linear2", "norm2", "output"]
    expected = {}
    for layer in ("linear2", "output"):
        earlier = order[: order.index(layer)]
        now, moved = parameters_of(state.before), parameters_of(state.before)
        for name, value in state.after.named_parameters():
            if name.split(".")[0] in earlier:
                moved[name] = value.detach().clone().requires_grad_()
        g, other = (
            torch.autograd.grad(loss_of(p, state), p[f"{layer}.weight"])[0].flatten().numpy() for p in (now, moved)
        )
        expected[f"{layer}/difference"] = np.linalg.norm(g - other)
        expected[f"{layer}/cosine"] = g @ other / np.linalg.norm(g) / np.linalg.norm(other)
    assert found == pytest.approx(expected | {"passes": 4}, rel=1e-10)


def test_without_a_step_there_is_no_covariate_shift():
    state = step_of(network())
    still = State(**{**vars(state), "after": state.before})
    found = CovariateShift(every=1).measure(still)
    assert {found["linear2/difference"], found["output/difference"]} == {0.0}
    assert found["output/cosine"] == pytest.approx(1.0)


@pytest.mark.parametrize("norm", ["weight", "spectral", "weight_standardization"])
def test_computed_weights_count_by_the_parameters_behind_them(norm):
    state = step_of(network(norm))
    found = CovariateShift(every=1).measure(state)
    assert {key for key in found if key != "passes"} == {
        f"{layer}/{number}" for layer in ("linear2", "output") for number in ("difference", "cosine")
    }
    # What comes behind a layer has no part in its number.
    later = copy.deepcopy(state.after)
    with torch.no_grad():
        later.get_submodule("output").weight.mul_(3)
    same = CovariateShift(every=1).measure(State(**{**vars(state), "after": later}))
    assert same == found


RESIDUAL = {
    "name": "sequential",
    "layers": [
        {"name": "flatten"},
        {"name": "linear", "units": 6},
        {"name": "residual", "layers": [{"name": "linear", "units": 6}, {"name": "norm"}, {"name": "activation"}]},
        {"name": "linear", "units": 10},
    ],
}


def test_branches_count_in_the_order_in_which_they_run():
    spec = make_spec(architecture=RESIDUAL, norm={"name": "skip_init"})
    torch.manual_seed(0)
    model = build(spec.blueprint()).double().train()
    state = step_of(model)
    layers = [key.rpartition("/")[0] for key in CovariateShift(every=1).measure(state) if "cosine" in key]
    assert len(layers) == 2  # that of the branch, and the last one
    still = copy.deepcopy(model)
    residual = layers[0].rpartition(".")[0]
    with torch.no_grad():
        still.get_submodule(residual).alpha.add_(1)
    found = CovariateShift(every=1).measure(State(**{**vars(state), "after": still}))
    assert found[f"{layers[0]}/difference"] == 0  # the scalar comes after the branch
    assert found[f"{layers[1]}/difference"] > 0


def test_a_recurrent_layer_is_one_layer_whose_own_norms_are_not_before_it():
    spec = make_spec(architecture={"name": "lstm", "hidden": [4, 3]}, norm={"name": "layer"})
    torch.manual_seed(0)
    state = step_of(build(spec.blueprint()).double().train())
    found = CovariateShift(every=1).measure(state)
    names = [key.rpartition("/")[0] for key in found if "cosine" in key]
    assert len(names) == 2
    second = names[0]
    still = copy.deepcopy(state.before)
    with torch.no_grad():
        for parameter in still.get_submodule(second).parameters():
            parameter.add_(0.1)
    moved = CovariateShift(every=1).measure(State(**{**vars(state), "after": still}))
    assert moved[f"{second}/difference"] == 0
    assert moved[f"{names[1]}/difference"] > 0
