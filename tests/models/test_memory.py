"""The estimate of memory, against what autograd really keeps."""

from math import prod

import pytest
import torch
from torch import Tensor, nn

from models.blueprint import Blueprint
from models.build import build
from models.catalog.names import Architecture
from models.catalog.registry import architectures
from models.kept import kept
from models.memory import EVAL_BATCH, EVAL_VALUES, FLOAT, HELD, LARGE_BATCH, PIECES, Memory, estimate, eval_batch
from tests.db.support import make_spec

BATCH = 8
OPTIONS = {"group": {"groups": 2}, "evonorm_s0": {"groups": 2}, "ghost_batch": {"size": 4}}
NETWORKS = {
    "mlp": {"name": "mlp", "hidden": [64, 32], "activation": "gelu", "dropout": 0.1},
    "cnn": {"name": "cnn", "channels": [8, 16], "activation": "sigmoid"},
    "vgg": {"name": "vgg", "depth": 11, "width": 4, "activation": "silu"},
    "resnet": {"name": "resnet", "depth": 8, "shortcut": "projection"},
    "densenet": {"name": "densenet", "depth": 10, "growth": 4},
    "inception": {"name": "inception", "width": 0.1},
    "transformer": {"name": "transformer", "patch": 8, "dropout": 0.1},
    "lstm": {"name": "lstm", "hidden": [16, 16]},
    "gru": {"name": "gru", "hidden": [16]},
    "sequential": {
        "name": "sequential",
        "layers": [
            {"name": "conv", "channels": 8, "kernel": 3},
            {"name": "norm"},
            {"name": "residual", "layers": [{"name": "activation"}, {"name": "norm"}]},
            {"name": "pool", "pool": "avg", "kernel": 2},
            {"name": "pool", "pool": "max"},
            {"name": "linear", "units": 10},
        ],
    },
}


def cases():
    return [(network, norm) for network in NETWORKS for norm in architectures()[network].norms]


def blueprint_of(network: str, norm: str = "batch") -> Blueprint:
    spec = {"name": norm, **OPTIONS.get(norm, {})}
    return make_spec(dataset={"name": "cifar10"}, architecture=NETWORKS[network], norm=spec).blueprint()


def kept_bytes(module: nn.Module, x: Tensor) -> int:
    """Bytes of all tensors that the backward pass will read, but for parameters, buffers and what is tiny."""
    own = {tensor.untyped_storage().data_ptr() for tensor in [*module.parameters(), *module.buffers()]}
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes()}
    held = []

    def keep(tensor: Tensor) -> Tensor:
        held.append(tensor)  # or its address could be another's later
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x)
    return sum(storages.values())


@pytest.mark.parametrize(("network", "norm"), cases())
def test_what_is_kept_for_the_backward_pass_is_known_without_torch(network, norm):
    blueprint = blueprint_of(network, norm)
    account, shape = kept(blueprint.body, blueprint.input_shape)
    assert shape == (10,)
    known = FLOAT * BATCH * (prod(blueprint.input_shape) + account.inside)
    measured = kept_bytes(build(blueprint), torch.randn(BATCH, *blueprint.input_shape))
    # The first layer's computed weights are not read again: nothing asks for the gradient of the data.
    weights = estimate(blueprint, batch_size=BATCH, optimizer_copies=0).weights
    # While it runs, a recurrent layer also holds the products of its inputs.
    least = 0.6 if network in ("lstm", "gru") else 0.97
    assert least * known < measured < 1.15 * (known + weights)


def test_the_networks_here_are_all_that_come_with_normlab():
    assert set(NETWORKS) == set(Architecture)


@pytest.mark.parametrize("copies", [0, 1, 2])
def test_parameters_gradients_and_optimizer_states_are_counted_by_the_byte(copies):
    blueprint = blueprint_of("mlp")
    optimizer = [
        lambda p: torch.optim.SGD(p),
        lambda p: torch.optim.SGD(p, momentum=0.9),
        lambda p: torch.optim.AdamW(p),
    ][copies]
    module = build(blueprint)
    steps = optimizer(module.parameters())
    module(torch.randn(BATCH, 3, 32, 32)).sum().backward()
    steps.step()
    states = [value for state in steps.state.values() for value in state.values() if isinstance(value, Tensor)]
    memory = estimate(blueprint, batch_size=BATCH, optimizer_copies=copies)
    assert memory.parameters == sum(parameter.nbytes for parameter in module.parameters())
    assert memory.gradients == sum(parameter.grad.nbytes for parameter in module.parameters())
    assert memory.optimizer == sum(state.nbytes for state in states if state.dim())


@pytest.mark.parametrize("network", ["mlp", "resnet", "lstm"])
def test_running_averages_and_their_scratch_are_counted_by_the_byte(network):
    module = build(blueprint_of(network))
    held = sum(buffer.nbytes for buffer in module.buffers() if buffer.dim())
    assert estimate(blueprint_of(network), batch_size=BATCH, optimizer_copies=0).buffers == held
    assert estimate(blueprint_of(network, "none"), batch_size=BATCH, optimizer_copies=0).buffers == 0


def memory_of(sample: int, batch_size: int, parameters: int = 100, evaluation: int = 0) -> Memory:
    return Memory(
        parameters=parameters,
        gradients=parameters,
        optimizer=parameters,
        weights=0,
        buffers=0,
        sample=sample,
        evaluation=evaluation,
        batch_size=batch_size,
    )


def test_the_batch_and_the_copy_of_a_checkpoint_are_not_held_at_once():
    assert memory_of(sample=10, batch_size=10).total == 300 + 400
    assert memory_of(sample=10, batch_size=100).total == 300 + 1000


def test_an_evaluation_holds_its_own_batches_whatever_the_batch_of_training():
    assert memory_of(sample=10, batch_size=10, evaluation=500).total == 300 + 500
    assert memory_of(sample=10, batch_size=100, evaluation=500).total == 300 + 1000
    assert memory_of(sample=10, batch_size=1, evaluation=500).largest_batch(799) == 0
    assert memory_of(sample=10, batch_size=1, evaluation=500).largest_batch(800) == 50


@pytest.mark.parametrize("limit", [700, 705, 709, 710, 5000])
def test_the_largest_batch_fits_and_one_more_does_not(limit):
    largest = memory_of(sample=10, batch_size=1).largest_batch(limit)
    assert memory_of(sample=10, batch_size=largest).total <= limit
    assert memory_of(sample=10, batch_size=largest + 1).total > limit


def test_where_the_state_alone_is_too_large_no_batch_fits():
    assert memory_of(sample=10, batch_size=1).largest_batch(699) == 0


def test_a_sample_counts_what_is_kept_and_the_largest_layer():
    blueprint = make_spec(
        architecture={"name": "mlp", "hidden": [100], "activation": "sigmoid"}, norm={"name": "none"}
    ).blueprint()
    # The input, the activation's output, and the gradients of its input and output.
    assert estimate(blueprint, batch_size=1, optimizer_copies=0).sample == PIECES * FLOAT * (64 + 100 + 200)


@pytest.mark.parametrize(
    ("channels", "evaluated", "samples"),
    [(16, 10_000, EVAL_BATCH), (16, 200, 200), (256, 10_000, 256), (65_536, 10_000, 2)],
)
def test_an_evaluation_is_counted_with_the_batches_that_its_bound_allows(channels, evaluated, samples):
    blueprint = make_spec(
        dataset={"name": "cifar10"}, architecture={"name": "cnn", "channels": [channels]}
    ).blueprint()
    memory = estimate(blueprint, batch_size=2, optimizer_copies=0, evaluated=evaluated)
    largest = channels * 32 * 32
    assert memory.evaluation == HELD * FLOAT * largest * samples
    assert memory.total == memory.fixed + max(memory.evaluation, 2 * memory.sample)


def test_batches_of_an_evaluation_are_as_large_as_their_outputs_allow():
    assert eval_batch(1) == eval_batch(EVAL_VALUES // EVAL_BATCH) == EVAL_BATCH
    assert eval_batch(EVAL_VALUES // LARGE_BATCH) == LARGE_BATCH
    assert eval_batch(EVAL_VALUES // LARGE_BATCH + 1) == LARGE_BATCH - 1
    assert eval_batch(EVAL_VALUES) == eval_batch(100 * EVAL_VALUES) == 2


@pytest.mark.parametrize(("network", "norm"), [(network, "batch") for network in NETWORKS])
def test_the_job_s_own_batch_holds_less_without_gradients_than_with_them(network, norm):
    blueprint = blueprint_of(network, norm)
    one = estimate(blueprint, batch_size=1, optimizer_copies=0, evaluated=1)
    assert one.evaluation <= one.sample


def test_a_network_of_hostile_size_has_an_estimate():
    hidden = {"name": "mlp", "hidden": [65_536] * 256}
    blueprint = make_spec(architecture=hidden, norm={"name": "layer"}).blueprint()
    assert estimate(blueprint, batch_size=1437, optimizer_copies=2).total > 4 * 4 * 255 * 65_536**2
