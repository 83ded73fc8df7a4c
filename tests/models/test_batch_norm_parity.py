"""BatchNorm against torch's own: the same numbers, gradients and names."""

import pytest
import torch
from torch import Tensor, nn

from models.norms.batch import BatchNorm

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
SHAPES = {"(N, C)": (32, 7), "(N, C, L)": (8, 7, 5), "(N, C, H, W)": (6, 7, 4, 3)}
STOCK = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}

dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
affines = pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])


def pair(shape, dtype=torch.float64, *, affine=True, eps=1e-5) -> tuple[BatchNorm, nn.Module]:
    """Ours and torch's with the same random parameters and running statistics."""
    ours = BatchNorm(shape[1], affine=affine, eps=eps).to(dtype)
    stock = STOCK[len(shape)](shape[1], affine=affine, eps=eps).to(dtype)
    with torch.no_grad():
        if affine:
            stock.weight.normal_()
            stock.bias.normal_()
        stock.running_mean.normal_()
        stock.running_var.uniform_(0.5, 2.0)
    ours.load_state_dict(stock.state_dict())
    return ours, stock


def sample(shape, dtype=torch.float64) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, dtype=dtype) * 3 + 2


def outputs_and_gradients(norm: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = norm(x)
    (y.sin() * torch.arange(1, y.numel() + 1, dtype=x.dtype).view_as(y) / y.numel()).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in norm.parameters())]


@dtypes
@shapes
@affines
@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_outputs_and_gradients_equal_stock_batch_norm(dtype, shape, affine, training):
    x = sample(shape, dtype)
    ours, stock = pair(shape, dtype, affine=affine)
    expected = outputs_and_gradients(stock.train(training), x)
    found = outputs_and_gradients(ours.train(training), x)
    assert len(found) == (4 if affine else 2)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@affines
def test_state_dict_has_the_names_and_shapes_of_stock_batch_norm(affine):
    ours, stock = BatchNorm(5, affine=affine), nn.BatchNorm1d(5, affine=affine)
    found, expected = ours.state_dict(), stock.state_dict()
    assert list(found) == list(expected)
    assert [(v.shape, v.dtype) for v in found.values()] == [(v.shape, v.dtype) for v in expected.values()]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@shapes
@dtypes
def test_scratch_buffers_hold_the_exact_mean_and_unbiased_variance_of_the_batch(shape, dtype):
    x = sample(shape, dtype)
    norm = BatchNorm(shape[1]).to(dtype).train()
    norm(sample(shape, dtype) * 5)  # what an earlier batch left must not matter
    norm(x)
    channels = x.double().movedim(1, 0).flatten(1)
    torch.testing.assert_close(
        norm.batch_mean.double(), channels.mean(1), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
    )
    torch.testing.assert_close(
        norm.batch_var.double(), channels.var(1), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
    )


@shapes
def test_train_mode_forward_leaves_running_buffers_bit_identical(shape):
    norm, _ = pair(shape)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.train()(sample(shape)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_eval_mode_forward_leaves_every_buffer_bit_identical():
    norm, _ = pair((8, 7))
    before = {name: value.clone() for name, value in norm.named_buffers()}
    norm.eval()(sample((8, 7)))
    assert all(torch.equal(value, before[name]) for name, value in norm.named_buffers())


@shapes
@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_gradcheck_passes_for_input_weight_and_bias(shape, training):
    norm, _ = pair(shape)
    norm.train(training)

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))

    x = sample((4, *shape[1:])).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, norm.weight, norm.bias))


def test_one_value_per_channel_is_refused_in_train_mode_as_torch_refuses_it():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BatchNorm(3).train()(torch.zeros(1, 3))
    assert BatchNorm(3).eval()(torch.zeros(1, 3)).shape == (1, 3)
