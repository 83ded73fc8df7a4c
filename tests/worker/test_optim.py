"""Optimizers, and what they decay."""

from typing import Any

import pytest
import torch
from torch import nn

from models.build import build
from models.norms.batch import BatchNorm
from tests.db.support import make_spec
from worker.optim import NOT_ARGUMENTS, make_optimizer, norm_parameters


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), BatchNorm(3), nn.Linear(3, 2))


def optimizer_of(model: nn.Module, **spec: Any) -> torch.optim.Optimizer:
    return make_optimizer(make_spec(optimizer=spec).optimizer, model)


def decays(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
@pytest.mark.parametrize("decay_norm", [True, False])
def test_norms_are_decayed_only_where_that_is_asked_for(name, decay_norm):
    model = network()
    optimizer = optimizer_of(model, name=name, weight_decay=0.3, decay_norm=decay_norm)
    of_norm = 0.3 if decay_norm else 0.0
    assert decays(model, optimizer) == {
        "0.weight": 0.3,
        "0.bias": 0.3,
        "1.weight": of_norm,
        "1.bias": of_norm,
        "2.weight": 0.3,
        "2.bias": 0.3,
    }


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
@pytest.mark.parametrize("decay_norm", [True, False])
def test_a_step_without_gradients_shrinks_what_is_decayed_and_nothing_else(name, decay_norm):
    model = network()
    optimizer = optimizer_of(model, name=name, lr=0.5, weight_decay=0.2, decay_norm=decay_norm)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, value in model.named_parameters():
        shrinks = decay_norm or not key.startswith("1.")
        torch.testing.assert_close(value.detach(), before[key] * (0.9 if shrinks else 1.0))


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "SGD"},
        {"name": "SGD", "lr": 0.05, "momentum": 0.9},
        {"name": "AdamW"},
        {"name": "AdamW", "lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.0},
    ],
    ids=str,
)
def test_arguments_are_those_of_torchs_optimizer_of_the_name(spec):
    optimizer = optimizer_of(network(), **spec)
    assert type(optimizer) is getattr(torch.optim, spec["name"])
    filled = make_spec(optimizer=spec).optimizer.model_dump(exclude={*NOT_ARGUMENTS, "weight_decay"})
    for group in optimizer.param_groups:
        assert {key: group[key] for key in filled} == filled


def test_a_model_of_norms_or_without_norms_has_one_group():
    plain = nn.Linear(3, 2)
    assert len(optimizer_of(plain, name="SGD", weight_decay=0.1).param_groups) == 1
    groups = optimizer_of(nn.Sequential(BatchNorm(3)), name="SGD", weight_decay=0.1).param_groups
    assert [group["weight_decay"] for group in groups] == [0]


def test_every_parameter_stands_in_exactly_one_group():
    model = network()
    optimizer = optimizer_of(model, name="SGD", weight_decay=0.1)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_what_stands_in_for_a_norm_is_not_decayed_either():
    def names(norm: dict[str, Any], architecture: dict[str, Any]) -> set[str]:
        model = build(make_spec(norm=norm, architecture=architecture).blueprint())
        found = {id(parameter) for parameter in norm_parameters(model)}
        return {name for name, parameter in model.named_parameters() if id(parameter) in found}

    mlp = {"name": "mlp", "hidden": [8]}
    assert names({"name": "weight"}, mlp) == {"linear1.parametrizations.weight.original0"}
    assert names({"name": "spectral"}, mlp) == set()
    assert names({"name": "dyt"}, mlp) == {"norm1.weight", "norm1.bias", "norm1.alpha"}
    block = {"name": "residual", "layers": [{"name": "norm"}, {"name": "linear", "units": 64}]}
    layers = [{"name": "flatten"}, block, {"name": "linear", "units": 10}]
    assert names({"name": "skip_init"}, {"name": "sequential", "layers": layers}) == {"residual1.alpha"}
