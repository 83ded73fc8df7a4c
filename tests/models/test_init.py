"""How weights begin."""

from math import sqrt

import pytest
import torch
from torch import nn

from models.blueprint import Blueprint, Init, NormChoice
from models.build import build
from models.catalog.names import ActivationName, InitName, NormName
from models.networks.mlp import mlp

INPUTS, UNITS = 500, 400
#: What each scheme promises for the standard deviation of a (UNITS, INPUTS) weight.
STD = {
    InitName.NORMAL: 0.03,
    InitName.TRUNC_NORMAL: 0.03 * 0.8796,  # of a normal distribution cut at two deviations
    InitName.ORTHOGONAL: sqrt(1 / INPUTS),
    InitName.XAVIER_UNIFORM: sqrt(2 / (INPUTS + UNITS)),
    InitName.XAVIER_NORMAL: sqrt(2 / (INPUTS + UNITS)),
    InitName.KAIMING_UNIFORM: sqrt(2 / INPUTS),
    InitName.KAIMING_NORMAL: sqrt(2 / INPUTS),
    InitName.DEFAULT: sqrt(1 / (3 * INPUTS)),
}
UNIFORM = {InitName.XAVIER_UNIFORM, InitName.KAIMING_UNIFORM, InitName.DEFAULT}


def network(init: Init, norm: NormName = NormName.NONE) -> nn.Module:
    blueprint: Blueprint = mlp(
        (INPUTS,),
        10,
        hidden=[UNITS],
        activation=ActivationName.RELU,
        norm=NormChoice(name=norm),
        init=init,
    )
    torch.manual_seed(5)
    return build(blueprint)


def init_of(name: InitName) -> Init:
    return Init(name=name, std=0.03 if name in (InitName.NORMAL, InitName.TRUNC_NORMAL) else None)


@pytest.mark.parametrize("name", list(InitName))
def test_weights_have_the_mean_and_spread_that_the_scheme_promises(name):
    weight = network(init_of(name)).linear1.weight.detach()
    # 200,000 draws: the sample's own error is about 0.2 %.
    assert weight.std().item() == pytest.approx(STD[name], rel=0.015)
    assert abs(weight.mean().item()) < 5 * STD[name] / sqrt(weight.numel())
    bound = sqrt(3) * STD[name]  # of a uniform distribution
    assert (weight.abs().max().item() <= bound * (1 + 1e-6)) == (name in UNIFORM)


def test_orthogonal_rows_have_length_one_and_are_at_right_angles():
    weight = network(Init(name=InitName.ORTHOGONAL)).linear1.weight.detach()
    torch.testing.assert_close(weight @ weight.T, torch.eye(UNITS), rtol=0, atol=1e-5)


def test_a_cut_normal_distribution_ends_at_two_deviations():
    weight = network(init_of(InitName.TRUNC_NORMAL)).linear1.weight
    assert 0.0599 < weight.abs().max().item() <= 0.06 * (1 + 1e-6)


@pytest.mark.parametrize("std", [0.001, 0.1, 2.0])
def test_normal_has_the_standard_deviation_that_is_asked_for(std):
    module = network(Init(name=InitName.NORMAL, std=std))
    assert module.linear1.weight.std().item() == pytest.approx(std, rel=0.015)
    assert module.output.weight.std().item() == pytest.approx(std, rel=0.06)


@pytest.mark.parametrize("name", sorted(set(InitName) - {InitName.DEFAULT}))
def test_biases_begin_at_zero(name):
    module = network(init_of(name))
    assert torch.count_nonzero(module.linear1.bias) == 0
    assert torch.count_nonzero(module.output.bias) == 0


def test_default_leaves_what_torch_itself_draws():
    module = network(Init())
    torch.manual_seed(5)
    first, last = nn.Linear(INPUTS, UNITS), nn.Linear(UNITS, 10)
    assert torch.equal(module.linear1.weight, first.weight)
    assert torch.equal(module.linear1.bias, first.bias)
    assert torch.equal(module.output.weight, last.weight)
    assert torch.count_nonzero(module.output.bias) > 0


@pytest.mark.parametrize("name", list(InitName))
def test_norms_begin_as_the_identity_whatever_the_scheme(name):
    norm = network(init_of(name), NormName.BATCH).norm1
    assert torch.equal(norm.weight, torch.ones(UNITS))
    assert torch.equal(norm.bias, torch.zeros(UNITS))
    assert torch.equal(norm.running_mean, torch.zeros(UNITS))
    assert torch.equal(norm.running_var, torch.ones(UNITS))


def test_the_same_seed_draws_the_same_network_and_another_one_another():
    one, same = network(init_of(InitName.NORMAL)), network(init_of(InitName.NORMAL))
    torch.manual_seed(6)
    other = nn.init.normal_(torch.empty(UNITS, INPUTS), std=STD[InitName.NORMAL])
    assert torch.equal(one.linear1.weight, same.linear1.weight)
    assert not torch.equal(one.linear1.weight, other)
