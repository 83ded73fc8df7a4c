"""Norms inside LSTM and GRU: the papers' equations written out, and statistics of each time step."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from models.build import build
from models.norms.base import Normalization
from models.norms.batch import StepBatchNorm
from models.norms.running import RunningAverages
from tests.models.networks.sequences import INPUTS, STEPS, assert_same, cells, loss_of, recurrent_of

BATCH = 8


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(9)


def cell_of(cell: str, norm: str, *, units: int = 5, noise: float = 0.0, **changes) -> nn.Module:
    """The recurrent layer alone, in float64, with random scales and shifts."""
    own = build(recurrent_of(cell, norm, hidden=(units,), noise=noise, **changes)).double()
    own = own.get_submodule(f"{cell}1")
    with torch.no_grad():
        for module in own.modules():
            for parameter in module.parameters(recurse=False) if isinstance(module, Normalization) else ():
                parameter.uniform_(-1, 1)
    return own


def sample(steps: int = STEPS) -> Tensor:
    return torch.randn(BATCH, steps, INPUTS, dtype=torch.float64)


def centred(x: Tensor, norm: nn.Module, step: int, *, dim: int) -> Tensor:
    """Each sample (dim 1) or each channel (dim 0) by its own mean and variance."""
    var, mean = torch.var_mean(x, dim=dim, correction=0, keepdim=True)
    return shifted(norm.weight * (x - mean) / (var + norm.eps).sqrt(), norm)


def shifted(y: Tensor, norm: nn.Module) -> Tensor:
    return y if norm.bias is None else y + norm.bias


def by_root_mean_square(x: Tensor, norm: nn.Module, step: int) -> Tensor:
    return norm.weight * x / (x.square().mean(1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()


def by_running_averages(x: Tensor, norm: nn.Module, step: int) -> Tensor:
    row = min(step, STEPS - 1)
    scaled = (x - norm.running_mean[row]) / (norm.running_var[row] + norm.eps).sqrt()
    return shifted(norm.weight * scaled, norm)


NORMALIZE = {
    "batch": partial(centred, dim=0),
    "layer": partial(centred, dim=1),
    "rms": by_root_mean_square,
}


def lstm_of_the_papers(own: nn.Module, x: Tensor, normalize) -> Tensor:
    """The equations of Ba et al. 2016 (20 to 22) and Cooijmans et al. 2016 (6 to 8) differ in the norm alone."""
    hidden = cell = torch.zeros(len(x), own.units, dtype=x.dtype)
    outputs = []
    for step in range(x.shape[1]):
        of_hidden = normalize(hidden @ own.weight_hidden.T, own.norm_hidden, step)
        of_input = normalize(x[:, step] @ own.weight_input.T, own.norm_input, step)
        take, keep, candidate, show = (of_hidden + of_input + own.bias).split(own.units, dim=1)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(take) * torch.tanh(candidate)
        hidden = torch.sigmoid(show) * torch.tanh(normalize(cell, own.norm_cell, step))
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def gru_of_the_paper(own: nn.Module, x: Tensor, normalize) -> Tensor:
    """Ba et al. 2016, supplement, with our bias, and the share of the old state as `update`."""
    units = own.units
    hidden = torch.zeros(len(x), units, dtype=x.dtype)
    gates_of_input, gates_of_hidden = own.weight_input[: 2 * units], own.weight_hidden[: 2 * units]
    outputs = []
    for step in range(x.shape[1]):
        gates = normalize(x[:, step] @ gates_of_input.T, own.norm_input, step)
        gates = gates + normalize(hidden @ gates_of_hidden.T, own.norm_hidden, step)
        reset, update = torch.sigmoid(gates + own.bias[: 2 * units]).split(units, dim=1)
        candidate = normalize(x[:, step] @ own.weight_input[2 * units :].T, own.norm_input_candidate, step)
        remembered = normalize(hidden @ own.weight_hidden[2 * units :].T, own.norm_hidden_candidate, step)
        candidate = torch.tanh(candidate + own.bias[2 * units :] + reset * remembered)
        hidden = update * hidden + (1 - update) * candidate
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


PAPERS = {"lstm": lstm_of_the_papers, "gru": gru_of_the_paper}


@cells
@pytest.mark.parametrize("norm", NORMALIZE)
def test_outputs_and_gradients_are_those_of_the_papers_equations(cell, norm):
    own = cell_of(cell, norm)
    x = sample().requires_grad_()
    wanted = [x, *own.parameters()]
    y, expected = own(x), PAPERS[cell](own, x, NORMALIZE[norm])
    assert_same([y], [expected])
    found = torch.autograd.grad(loss_of(y), wanted)
    assert min(gradient.abs().max() for gradient in found) > 1e-4
    assert_same(found, torch.autograd.grad(loss_of(expected), wanted))


@cells
def test_eval_mode_uses_the_averages_of_each_time_step_and_beyond_the_end_those_of_the_last(cell):
    own = cell_of(cell, "batch").eval()
    for norm in own.children():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = sample(STEPS + 3)
    y = own(x)
    assert_same([y], [PAPERS[cell](own, x, by_running_averages)])
    assert_same([own(x[:2, :STEPS])], [y[:2, :STEPS]])


@cells
@pytest.mark.parametrize("length", [1, STEPS - 2, STEPS, STEPS + 3])
def test_norms_that_move_themselves_do_so_once_for_a_sequence_of_any_length(cell, length):
    own = cell_of(cell, "batch").train()
    for norm in own.children():
        norm.moves_itself = True
    taken = inputs_of_norms(own, x := sample(length))
    for name, norm in own.named_children():
        kept = min(length, STEPS)
        means = taken[name].mean(1)[:kept]
        assert_same([norm.running_mean[:kept]], [norm.momentum * means])
        assert norm.running_mean[kept:].count_nonzero() == 0
        assert norm.num_batches_tracked.item() == 1
    loss_of(own(x)).backward()  # the averages that have moved are no part of the gradient
    assert own.weight_hidden.grad.isfinite().all()


def inputs_of_norms(own: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What arrives at each norm while x runs through: (steps, N, channels)."""
    found: dict[str, list[Tensor]] = {name: [] for name, _ in own.named_children()}
    for name, norm in own.named_children():
        norm.register_forward_pre_hook(partial(lambda name, _, args: found[name].append(args[0].detach()), name))
    own(x)
    return {name: torch.stack(values) for name, values in found.items()}


@cells
def test_each_row_of_the_scratch_buffers_holds_the_moments_of_its_time_step(cell):
    own, x = cell_of(cell, "batch"), sample()
    arrived = inputs_of_norms(own, x)
    joined = torch.cat(
        [arrived[name] for name in ("norm_input", "norm_input_candidate") if name in arrived], dim=2
    )
    assert_same([joined], [(x @ own.weight_input.T).transpose(0, 1)])
    for name, norm in own.named_children():
        assert_same([norm.batch_mean, norm.batch_var], [arrived[name].mean(1), arrived[name].var(1)])
        assert norm.batch_mean.shape == (STEPS, norm.features)
        # The rows are of different moments, or their order would not matter.
        assert (norm.batch_mean[1:] - norm.batch_mean[:-1]).abs().amax(1).min() > 1e-3


@cells
def test_running_averages_move_row_by_row_once_a_batch(cell):
    own = cell_of(cell, "batch", options=(("momentum", 0.3),))
    averages = RunningAverages(own.modules())
    stocks = {
        name: [nn.BatchNorm1d(norm.features, momentum=0.3).double() for _ in range(STEPS)]
        for name, norm in own.named_children()
    }
    for _ in range(3):
        for name, steps in inputs_of_norms(own, sample()).items():
            for stock, values in zip(stocks[name], steps, strict=True):
                stock(values)
        averages.update()
    for name, norm in own.named_children():
        assert_same(norm.running_mean, [stock.running_mean for stock in stocks[name]])
        assert_same(norm.running_var, [stock.running_var for stock in stocks[name]])


@cells
@pytest.mark.parametrize("gamma", [None, 0.3])
def test_scales_of_batch_norm_begin_at_gamma_and_the_cells_bias_is_the_shift_before_the_gates(cell, gamma):
    changes = {} if gamma is None else {"gamma": gamma}
    own = build(recurrent_of(cell, "batch", **changes)).get_submodule(f"{cell}1")
    for name, norm in own.named_children():
        assert isinstance(norm, StepBatchNorm)
        assert torch.equal(norm.weight, torch.full((norm.features,), gamma or 0.1))
        assert (norm.bias is not None) == (name == "norm_cell")
    of_layer_norm = build(recurrent_of(cell, "layer", **changes)).get_submodule(f"{cell}1").norm_hidden
    assert torch.equal(of_layer_norm.weight, torch.ones(of_layer_norm.features))
    assert torch.equal(of_layer_norm.bias, torch.zeros(of_layer_norm.features))


@cells
def test_without_affine_batch_norm_learns_nothing(cell):
    own = build(recurrent_of(cell, "batch", options=(("affine", False),))).get_submodule(f"{cell}1")
    assert [name for name, _ in own.named_parameters()] == ["weight_input", "weight_hidden", "bias"]


@cells
def test_the_hidden_state_begins_with_noise_where_batch_norm_uses_the_batch(cell):
    own = cell_of(cell, "batch", units=50, noise=0.1)
    x = torch.zeros(400, STEPS, INPUTS, dtype=torch.float64)
    assert own.first_hidden(x).std().item() == pytest.approx(0.1, rel=0.03)
    assert own(x)[:, -1].std(0).min() > 1e-3
    own.eval()
    assert torch.count_nonzero(own.first_hidden(x)) == 0
    assert own(x)[:, -1].std(0).max() < 1e-12
    # Batch statistics with everything else in eval mode, as they are evaluated and estimated.
    own.norm_hidden.train()
    assert torch.count_nonzero(own.first_hidden(x)) == 400 * 50


@cells
@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
def test_other_norms_have_no_noise(cell, norm):
    own = build(recurrent_of(cell, norm, noise=0.5)).get_submodule(f"{cell}1")
    assert torch.count_nonzero(own.first_hidden(torch.zeros(3, STEPS, INPUTS))) == 0


def gradients(own: nn.Module, x: Tensor, first: Tensor) -> Tensor:
    """Of all parameters at once, with the hidden state that is given as the first one."""
    own.first_hidden = lambda inputs: first.to(inputs.dtype)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss_of(own(x)), list(own.parameters()))])


@pytest.mark.parametrize(("noise", "drowned"), [(0.0, True), (0.1, False)])
def test_the_noise_keeps_gradients_from_drowning_in_rounding_errors(noise, drowned):
    own = cell_of("lstm", "batch", units=16)
    for norm in own.children():
        nn.init.constant_(norm.weight, 0.3)
    x = sample()
    x[:, :4] = 0  # time steps at which all samples are alike
    first = noise * torch.randn(BATCH, 16, dtype=torch.float64)
    expected = gradients(own, x, first)
    found = gradients(own.float(), x.float(), first).double()
    error = ((found - expected).norm() / expected.norm()).item()
    assert error > 0.1 if drowned else error < 1e-4
