"""Half precision, autocast and memory format: the same results to rounding."""

import pytest
import torch
from torch import Tensor, nn

from tests.models.norms.support import MAPS, NORMS, NORMS_AND_SHAPES, draw, outputs_and_gradients, randomized

HALVES = [torch.bfloat16, torch.float16]
OF_MAPS = [name for name, shape in NORMS_AND_SHAPES if shape == MAPS]
halves = pytest.mark.parametrize("half", HALVES, ids=str)
cases = pytest.mark.parametrize(("name", "shape"), NORMS_AND_SHAPES, ids=str)


def assert_rounded_once(found: Tensor, exact: Tensor) -> None:
    """`found` is the exact value in its own number type, within one step and float32's own error."""
    torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(found.dtype).eps, atol=2e-4)


def narrow(shape: tuple[int, ...], half: torch.dtype) -> Tensor:
    """Values far from 0: sums of their squares lose everything in half precision."""
    return (draw(shape, torch.float32) + 12).to(half)


@halves
@cases
def test_half_precision_is_computed_in_float32_and_rounded_once(name, shape, half):
    norm, exact = (randomized(NORMS[name](), dtype) for dtype in (torch.float32, torch.float64))
    exact.load_state_dict(norm.state_dict())
    if name.startswith("rms"):  # not float64's smaller one
        exact.eps = torch.finfo(torch.float32).eps
    for training in (True, False):
        y = norm.train(training)(narrow(shape, half))
        assert y.dtype == half
        assert_rounded_once(y, exact.train(training)(narrow(shape, half).double()))


def gradients(norm: nn.Module, x: Tensor, of_output: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    return list(torch.autograd.grad(norm(x), [x, *norm.parameters()], of_output.to(x.dtype)))


@halves
@cases
def test_gradients_of_half_precision_inputs_are_rounded_once_and_those_of_parameters_not(name, shape, half):
    norm = randomized(NORMS[name](), torch.float32)
    x, of_output = narrow(shape, half), draw(shape, torch.float32).to(half)
    found, expected = gradients(norm, x, of_output), gradients(norm, x.float(), of_output)
    assert [value.dtype for value in found] == [half] + [torch.float32] * (len(found) - 1)
    assert_rounded_once(found[0], expected[0].double())
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@cases
def test_squares_beyond_the_range_of_float16_do_no_harm(name, shape):
    norm = randomized(NORMS[name](), torch.float32)
    x = (1000 * draw(shape, torch.float32)).half()
    assert x.float().square().max() > torch.finfo(torch.float16).max
    y = norm(x)
    assert y.isfinite().all()
    torch.testing.assert_close(y.float(), norm(x.float()), rtol=1e-3, atol=1e-3)


@halves
@cases
def test_a_norm_whose_own_parameters_are_narrow_gives_the_type_of_its_input(name, shape, half):
    wide = randomized(NORMS[name](), torch.float32)
    norm = randomized(NORMS[name](), torch.float32).to(half)
    for training in (True, False):
        y = norm.train(training)(draw(shape, torch.float32).to(half))
        assert y.dtype == half
        expected = wide.train(training)(draw(shape, torch.float32))
        torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@cases
def test_autocast_changes_nothing(name, shape, dtype):
    norm, x = randomized(NORMS[name](), torch.float32), draw(shape, torch.float32).to(dtype)
    for training in (True, False):
        expected = norm.train(training)(x)
        with torch.autocast("cpu", torch.bfloat16):
            y = norm(x)
        assert y.dtype == dtype
        assert torch.equal(y, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", OF_MAPS)
def test_channels_last_gives_the_same_outputs_and_gradients_to_rounding(name, dtype):
    plain, other = (randomized(NORMS[name](), dtype) for _ in range(2))
    x = draw(MAPS, dtype).to(memory_format=torch.channels_last)
    assert not x.is_contiguous()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    expected, found = outputs_and_gradients(plain, draw(MAPS, dtype)), outputs_and_gradients(other, x)
    for one, same in zip(found, expected, strict=True):
        torch.testing.assert_close(one, same, rtol=tolerance, atol=tolerance)
