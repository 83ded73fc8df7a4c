"""Parametrized weights: alone, and in networks that are built with them."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from models.blueprint import Blueprint, Init
from models.build import build
from models.catalog.names import InitName, NormName
from models.kinds.layers import Parametrization
from models.networks.cnn import cnn
from models.networks.mlp import mlp
from models.norms.base import Identity
from models.norms.group import GroupNorm
from models.shapes import layers, total_parameters
from models.weights import Standardized, parametrize_weight
from tests.models.norms.support import spec

MAKERS = {"linear": lambda: nn.Linear(7, 5), "conv": lambda: nn.Conv2d(3, 5, 3)}
INPUTS = {"linear": (4, 7), "conv": (2, 3, 6, 5)}
OF_WEIGHTS = [NormName.WEIGHT, NormName.SPECTRAL, NormName.WEIGHT_STANDARDIZATION]
each_layer = pytest.mark.parametrize("layer", MAKERS)


def made(layer: str, norm: NormName, **options) -> tuple[nn.Module, Tensor]:
    """A layer with parametrized weights, in float64, and the weights that it had before."""
    torch.manual_seed(2)
    module = MAKERS[layer]().double()
    before = module.weight.detach().clone()
    parametrize_weight(module, Parametrization(norm=norm, options=tuple(options.items())))
    return module, before


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def train_on(module: nn.Module, x: Tensor) -> None:
    """One step of gradient descent."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(x).square().mean().backward()
    optimizer.step()


@each_layer
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.1])
def test_standardized_filters_have_mean_zero_and_variance_reduced_by_eps(layer, eps):
    module, before = made(layer, NormName.WEIGHT_STANDARDIZATION, eps=eps)
    filters, variance = module.weight.flatten(1), before.flatten(1).var(1, correction=0)
    close(filters.mean(1), torch.zeros(5, dtype=torch.float64))
    close(filters.var(1, correction=0), variance / (variance + eps))
    expected = [(each - each.mean()) / (each.var(correction=0) + eps).sqrt() for each in before]
    close(module.weight, torch.stack(expected))


@each_layer
def test_standardized_filters_ignore_scale_and_shift_of_their_weights(layer):
    _, before = made(layer, NormName.WEIGHT_STANDARDIZATION, eps=1e-12)
    standardized = Standardized(1e-12)
    torch.testing.assert_close(standardized(7 * before + 3), standardized(before), rtol=1e-8, atol=1e-8)


@each_layer
def test_gradients_of_a_standardized_filter_sum_to_zero(layer):
    module, _ = made(layer, NormName.WEIGHT_STANDARDIZATION, eps=1e-5)
    module(torch.randn(INPUTS[layer], dtype=torch.float64)).sin().sum().backward()
    gradient = module.parametrizations.weight.original.grad.flatten(1)
    assert gradient.abs().max() > 1e-3
    close(gradient.sum(1), torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3, 3)], ids=str)
def test_gradcheck_passes_for_standardized_weights(shape):
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Standardized(1e-3), (weight,))


@each_layer
def test_weight_norm_is_a_length_times_a_direction_for_each_filter(layer):
    module, before = made(layer, NormName.WEIGHT)
    close(module.weight, before)
    length, direction = module.parametrizations.weight.original0, module.parametrizations.weight.original1
    with torch.no_grad():
        length.normal_()
        direction.normal_()
    norms = direction.flatten(1).norm(dim=1).view_as(length)
    close(module.weight, length * direction / norms)
    assert length.numel() == 5


@each_layer
def test_the_gradient_of_a_direction_is_orthogonal_to_it(layer):
    module, _ = made(layer, NormName.WEIGHT)
    module(torch.randn(INPUTS[layer], dtype=torch.float64)).sin().sum().backward()
    direction = module.parametrizations.weight.original1
    assert direction.grad.abs().max() > 1e-3
    assert F.cosine_similarity(direction.flatten(1), direction.grad.flatten(1), dim=1).abs().max() < 1e-10


def largest(module: nn.Module) -> float:
    return torch.linalg.svdvals(module.weight.detach().flatten(1))[0].item()


@each_layer
def test_the_largest_singular_value_approaches_one_over_training_steps(layer):
    module, before = made(layer, NormName.SPECTRAL, n_power_iterations=1, eps=1e-12)
    x = torch.randn(INPUTS[layer], dtype=torch.float64)
    with torch.no_grad():  # to where 15 iterations are not enough
        module.parametrizations.weight.original.copy_(torch.randn_like(before))
    first = abs(largest(module.eval()) - 1)
    for _ in range(300):
        module.train()(x)
    assert abs(largest(module.eval()) - 1) < 1e-6 < first
    original = module.parametrizations.weight.original.detach()
    close(module.weight, original / torch.linalg.svdvals(original.flatten(1))[0])


def test_more_power_iterations_in_a_step_come_nearer():
    errors = []
    for iterations in (1, 200):
        module, before = made("linear", NormName.SPECTRAL, n_power_iterations=iterations, eps=1e-12)
        with torch.no_grad():
            torch.manual_seed(3)
            module.parametrizations.weight.original.copy_(torch.randn_like(before))
        module.train()(torch.zeros(1, 7, dtype=torch.float64))
        errors.append(abs(largest(module.eval()) - 1))
    assert errors[1] < 1e-6 < errors[0]


@each_layer
def test_eval_mode_leaves_the_vectors_of_the_power_iteration_alone(layer):
    module, before = made(layer, NormName.SPECTRAL, n_power_iterations=1, eps=1e-12)
    x = torch.randn(INPUTS[layer], dtype=torch.float64)
    with torch.no_grad():
        module.parametrizations.weight.original.copy_(torch.randn_like(before))
    vectors = {name: vector.clone() for name, vector in module.named_buffers()}
    assert [name.rpartition(".")[2] for name in vectors] == ["_u", "_v"]
    first = module.eval()(x)
    assert torch.equal(module(x), first)
    assert all(torch.equal(vector, vectors[name]) for name, vector in module.named_buffers())
    module.train()(x)
    assert not any(torch.equal(vector, vectors[name]) for name, vector in module.named_buffers())


class AutocastOfProducts(TorchFunctionMode):
    """Whether autocast was on at each product of a matrix and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[bool] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.mv, torch.vdot):
            self.found.append(torch.is_autocast_enabled("cpu"))
        return func(*args, **(kwargs or {}))


def test_spectral_norm_takes_no_product_under_autocast():
    # On CUDA autocast would take them in half precision; on the CPU it would not, but it can be seen there.
    module, _ = made("linear", NormName.SPECTRAL, n_power_iterations=2, eps=1e-12)
    with torch.autocast("cpu", torch.bfloat16), AutocastOfProducts() as products:
        module.float().train()(torch.zeros(4, 7))
    assert products.found == [False] * 6


@each_layer
@pytest.mark.parametrize("norm", OF_WEIGHTS)
def test_autocast_changes_no_bit_of_parametrized_weights(layer, norm):
    options = {
        NormName.SPECTRAL: {"n_power_iterations": 1, "eps": 1e-12},
        NormName.WEIGHT_STANDARDIZATION: {"eps": 1e-5},
    }
    states, weights = [], []
    for enabled in (False, True):
        module = made(layer, norm, **options.get(norm, {}))[0].float().train()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = module(torch.zeros(INPUTS[layer]))
            weights.append(module.eval().weight.detach())
        assert y.dtype is (torch.bfloat16 if enabled else torch.float32)
        states.append(module.state_dict())
    assert weights[1].dtype is torch.float32
    assert torch.equal(*weights)
    assert all(torch.equal(value, states[0][name]) for name, value in states[1].items())


@each_layer
def test_spectral_norm_is_torchs_own_by_its_names_draws_and_values(layer):
    options = {"n_power_iterations": 3, "eps": 1e-12}
    module, _ = made(layer, NormName.SPECTRAL, **options)
    torch.manual_seed(2)
    stock = nn.utils.parametrizations.spectral_norm(MAKERS[layer]().double(), **options)
    x = torch.randn(INPUTS[layer], dtype=torch.float64)
    for _ in range(2):
        assert torch.equal(module(x), stock(x))
    assert list(module.state_dict()) == list(stock.state_dict())
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in stock.state_dict().items())
    stock.load_state_dict(module.state_dict())


def test_a_network_with_spectral_norm_can_be_made_without_numbers():
    with torch.device("meta"):
        module = build(network(NormName.SPECTRAL))
    assert module.conv1.weight.is_meta


def test_a_norm_that_is_not_of_weights_is_no_parametrization():
    with pytest.raises(KeyError, match="batch"):
        parametrize_weight(nn.Linear(2, 2), Parametrization(norm=NormName.BATCH))


def network(norm: str, init: InitName = InitName.DEFAULT, *, convolutional: bool = True, **options) -> Blueprint:
    std = 0.2 if init in (InitName.NORMAL, InitName.TRUNC_NORMAL) else None
    of_norm = {"norm": spec(norm, **options).choice(100), "init": Init(name=init, std=std)}
    if convolutional:
        return cnn((3, 8, 8), 4, channels=[6, 8], **of_norm)
    return mlp((3, 4, 2), 4, hidden=[6, 8], **of_norm)


def seeded(blueprint: Blueprint) -> nn.Module:
    torch.manual_seed(11)
    return build(blueprint)


def expected_weight(norm: NormName, plain: Tensor, module: nn.Module) -> Tensor:
    match norm:
        case NormName.WEIGHT:
            return plain
        case NormName.WEIGHT_STANDARDIZATION:
            return Standardized(1e-5)(plain)
        case _:
            of_layer = module.parametrizations.weight[0]
            return plain / (of_layer._u @ plain.flatten(1) @ of_layer._v)


@pytest.mark.parametrize("init", list(InitName))
@pytest.mark.parametrize("norm", OF_WEIGHTS)
@pytest.mark.parametrize("convolutional", [True, False], ids=["cnn", "mlp"])
def test_a_network_begins_with_the_weights_of_its_scheme_parametrized(norm, init, convolutional):
    plain = seeded(network("none", init, convolutional=convolutional))
    module = seeded(network(norm, init, convolutional=convolutional)).eval()
    kind = "conv" if convolutional else "linear"
    for name in (f"{kind}1", f"{kind}2"):
        ours, before = module.get_submodule(name), plain.get_submodule(name)
        expected = expected_weight(norm, before.weight.detach(), ours)
        torch.testing.assert_close(ours.weight.detach(), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(ours.bias, before.bias)
        assert bool(ours.bias.any()) == (init is InitName.DEFAULT)  # every other scheme has been applied
    assert torch.equal(module.output.weight, plain.output.weight)
    assert "parametrizations" not in dict(module.output.named_children())


@pytest.mark.parametrize("norm", OF_WEIGHTS)
@pytest.mark.parametrize("convolutional", [True, False], ids=["cnn", "mlp"])
def test_learned_numbers_of_each_layer_are_those_of_the_blueprint(norm, convolutional):
    blueprint = network(norm, convolutional=convolutional)
    module = build(blueprint)
    for step in layers(blueprint):
        held = sum(parameter.numel() for parameter in module.get_submodule(step.name).parameters())
        assert (step.name, held) == (step.name, step.parameters)
    more = 6 + 8 if norm is NormName.WEIGHT else 0
    assert total_parameters(blueprint) == total_parameters(network("none", convolutional=convolutional)) + more


@pytest.mark.parametrize("norm", OF_WEIGHTS)
@pytest.mark.parametrize("convolutional", [True, False], ids=["cnn", "mlp"])
def test_a_network_trains_and_its_state_makes_the_same_network_again(norm, convolutional):
    blueprint = network(norm, convolutional=convolutional)
    module, other = seeded(blueprint), build(blueprint)
    x = torch.randn(5, *blueprint.input_shape)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    train_on(module.train(), x)
    assert not any(torch.equal(parameter, before[name]) for name, parameter in module.named_parameters())
    assert not torch.allclose(other.eval()(x), module.eval()(x))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), module(x))


def test_sites_beside_parametrized_weights_hold_identities_or_the_group_norm_that_is_asked_for():
    for norm in OF_WEIGHTS:
        assert type(build(network(norm)).norm1) is Identity
    grouped = build(network(NormName.WEIGHT_STANDARDIZATION, groups=2))
    assert [(type(norm), norm.groups) for norm in (grouped.norm1, grouped.norm2)] == [(GroupNorm, 2)] * 2
