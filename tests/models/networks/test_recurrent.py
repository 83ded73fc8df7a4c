"""LSTM and GRU against torch's own, and what is known of them without torch."""

import json

import pytest
import torch
from torch import Tensor, nn

from models.blueprint import Init, from_json, to_json
from models.build import build
from models.catalog.architectures import ARCHITECTURES
from models.catalog.names import InitName
from models.shapes import ShapeError, layers, sites, total_parameters
from tests.models.networks.sequences import INPUTS, STEPS, assert_same, cells, copy_into, loss_of, recurrent_of

STOCK = {"lstm": nn.LSTM, "gru": nn.GRU}
norms = pytest.mark.parametrize("norm", ARCHITECTURES["lstm"].norms)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(4)


def stock_and_pairs(network: nn.Module, cell: str, units: int) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """torch's own layers with the weights of two of ours, and each of our parameters beside torch's.

    torch has a second bias, which is 0 here. Its GRU multiplies that one by the reset gate, where we have none.
    """
    stock = STOCK[cell](INPUTS, units, num_layers=2, batch_first=True).double()
    pairs = []
    for depth in (0, 1):
        own = network.get_submodule(f"{cell}{depth + 1}")
        pairs += [
            (own.weight_input, getattr(stock, f"weight_ih_l{depth}")),
            (own.weight_hidden, getattr(stock, f"weight_hh_l{depth}")),
            (own.bias, getattr(stock, f"bias_ih_l{depth}")),
        ]
        nn.init.zeros_(getattr(stock, f"bias_hh_l{depth}"))
    copy_into(pairs)
    return stock, pairs


@cells
def test_without_norm_outputs_and_gradients_of_two_layers_are_those_of_torch(cell):
    network = build(recurrent_of(cell, hidden=(5, 5))).double()
    stock, pairs = stock_and_pairs(network, cell, 5)
    x = torch.randn(7, STEPS, INPUTS, dtype=torch.float64, requires_grad=True)
    x_of_stock = x.detach().clone().requires_grad_()
    y = network.get_submodule(f"{cell}2")(network.get_submodule(f"{cell}1")(x))
    expected, _ = stock(x_of_stock)
    loss_of(y).backward()
    loss_of(expected).backward()
    assert y.shape == (7, STEPS, 5)
    assert_same([y, x.grad], [expected, x_of_stock.grad])
    assert_same([own.grad for own, _ in pairs], [copy.grad for _, copy in pairs])
    assert_same([network(x)], [network.output(expected[:, -1])])


@cells
def test_weights_begin_as_those_of_torch_do(cell):
    own = build(recurrent_of(cell, hidden=(400,), shape=(2, 300))).get_submodule(f"{cell}1")
    bound = 400**-0.5
    for parameter in own.parameters():
        assert 0.99 * bound < parameter.abs().max() <= bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


@cells
def test_an_image_is_the_sequence_of_its_rows(cell):
    network = build(recurrent_of(cell, shape=(2, STEPS, 5)))
    x = torch.randn(3, 2, STEPS, 5)
    rows = torch.stack([torch.cat([x[:, 0, row], x[:, 1, row]], dim=1) for row in range(STEPS)], dim=1)
    of_rows = network.output(network.get_submodule(f"{cell}1")(rows)[:, -1])
    assert_same([network(x)], [of_rows], 1e-6)
    assert_same([network(x.to(memory_format=torch.channels_last))], [of_rows], 1e-6)


@cells
@norms
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(STEPS, INPUTS), (2, 7, 4)], ids=str)
def test_shapes_and_parameters_known_without_torch_are_those_of_the_module(cell, norm, affine, shape):
    options = () if norm == "none" else (("affine", affine),)
    blueprint = recurrent_of(cell, norm, hidden=(6, 5), shape=shape, options=options, dropout=0.1)
    network = build(blueprint)
    assert total_parameters(blueprint) == sum(parameter.numel() for parameter in network.parameters())
    x = torch.randn(3, *shape)
    for step in layers(blueprint):
        module = network.get_submodule(step.name)
        if step.time_steps is None:
            x = module(x)
            assert (step.name, step.output) == (step.name, tuple(x.shape[1:]))
        else:
            own = sum(parameter.numel() for parameter in module.parameters())
            assert (step.name, step.parameters) == (step.name, own)
    assert x.shape == (3, 4)


def test_sites_are_named_by_layer_and_place_and_know_their_time_steps():
    lstm, gru = (sites(recurrent_of(cell, "batch", hidden=(5, 7))) for cell in STOCK)
    assert [(site.name, site.channels) for site in lstm] == [
        ("lstm1.norm_input", 20),
        ("lstm1.norm_hidden", 20),
        ("lstm1.norm_cell", 5),
        ("lstm2.norm_input", 28),
        ("lstm2.norm_hidden", 28),
        ("lstm2.norm_cell", 7),
    ]
    assert [(site.name, site.channels) for site in gru[:4]] == [
        ("gru1.norm_input", 10),
        ("gru1.norm_hidden", 10),
        ("gru1.norm_input_candidate", 5),
        ("gru1.norm_hidden_candidate", 5),
    ]
    assert {(site.time_steps, site.positions) for site in (*lstm, *gru)} == {(STEPS, 1)}


@cells
@norms
def test_json_holds_the_whole_network(cell, norm):
    blueprint = recurrent_of(cell, norm, hidden=(5, 4), shape=(1, 8, 8), dropout=0.2, gamma=0.3, noise=0.05)
    assert from_json(json.loads(json.dumps(to_json(blueprint)))) == blueprint


@pytest.mark.parametrize("shape", [(10,), (1, 2, 3, 4)], ids=str)
def test_what_is_neither_an_image_nor_a_sequence_is_refused_by_its_shape(shape):
    with pytest.raises(ShapeError, match="it takes images"):
        layers(recurrent_of("lstm", shape=shape))


@cells
def test_dropout_stands_between_layers_alone(cell):
    network = build(recurrent_of(cell, hidden=(5, 5, 5), dropout=0.5))
    assert list(dict(network.named_children())) == [
        f"{cell}1",
        "dropout1",
        f"{cell}2",
        "dropout2",
        f"{cell}3",
        "last",
        "output",
    ]
    x = torch.randn(2, STEPS, INPUTS)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
    assert "dropout1" not in dict(build(recurrent_of(cell, dropout=0.5)).named_children())


@cells
def test_each_gate_is_drawn_as_a_matrix_of_its_own(cell):
    init = Init(name=InitName.ORTHOGONAL)
    own = build(recurrent_of(cell, hidden=(8,), init=init)).get_submodule(f"{cell}1")
    gates = own.weight_hidden.split(8)
    assert len(gates) == {"lstm": 4, "gru": 3}[cell]
    for gate in gates:
        assert_same([gate @ gate.T], [torch.eye(8)], 1e-5)
    for gate in own.weight_input.split(8):
        assert_same([gate.T @ gate], [torch.eye(INPUTS)], 1e-5)
    assert torch.count_nonzero(own.bias) == 0


@cells
@norms
def test_bfloat16_autocast_stays_near_float32(cell, norm):
    network = build(recurrent_of(cell, norm, hidden=(32,), shape=(12, 8), noise=0.0))
    x = torch.randn(64, 12, 8)
    expected = network(x)
    moments = [buffer.clone() for name, buffer in network.named_buffers() if "batch_" in name]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = network(x)
    assert y.dtype is torch.bfloat16
    assert 0 < (y.float() - expected).norm() < 0.02 * expected.norm()
    found = [buffer for name, buffer in network.named_buffers() if "batch_" in name]
    assert {buffer.dtype for buffer in found} <= {torch.float32}
    assert_same(found, moments, 0.02)
