"""What holds for norms of single samples whatever their input (science.md section 7, item 3)."""

import pytest
import torch
from torch import Tensor

from models.norms.batch import BatchNorm
from models.norms.group import GroupNorm, InstanceNorm
from models.norms.layer import LayerNorm, RMSNorm
from tests.models.norms.support import (
    CHANNELS,
    MAPS,
    NORMS,
    NORMS_AND_SHAPES,
    SHAPES,
    VECTORS,
    draw,
    outputs_and_gradients,
    randomized,
)

OF_SINGLE_SAMPLES = [(name, shape) for name, shape in NORMS_AND_SHAPES if name != "evonorm b0 with activation"]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def assert_alike(one, other, x: Tensor) -> None:
    """The same outputs and the same gradients, of the parameters too."""
    ours, theirs = outputs_and_gradients(one, x), outputs_and_gradients(other, x)
    for found, expected in zip(ours, theirs, strict=True):
        close(found, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_group_norm_of_one_group_is_layer_norm_over_the_sample(shape):
    layer, group = LayerNorm(CHANNELS, eps=0.1), GroupNorm(CHANNELS, groups=1, eps=0.1)
    assert_alike(randomized(layer), randomized(group), draw(shape))


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
@pytest.mark.parametrize("affine", [True, False])
def test_group_norm_of_single_channels_is_instance_norm(shape, affine):
    instance = InstanceNorm(CHANNELS, eps=0.1, affine=affine)
    group = GroupNorm(CHANNELS, groups=CHANNELS, eps=0.1, affine=affine)
    assert_alike(randomized(instance), randomized(group), draw(shape))


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_batch_norm_of_one_sample_is_instance_norm(shape):
    batch, instance = BatchNorm(CHANNELS, eps=0.1), InstanceNorm(CHANNELS, eps=0.1, affine=True)
    assert_alike(randomized(batch), randomized(instance), draw(shape)[:1])


@pytest.mark.parametrize("over", ["sample", "channels"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layer_norm_of_an_input_of_mean_zero_is_rms_norm(shape, over):
    layer = LayerNorm(CHANNELS, eps=0.1, affine=False, over=over)
    rms = RMSNorm(CHANNELS, eps=0.1, affine=False, over=over)
    x = draw(shape)
    dims = [1] if over == "channels" else list(range(1, x.dim()))
    assert (layer(x) - rms(x)).abs().max() > 0.1
    centered = x - x.mean(dims, keepdim=True)
    close(layer(centered), rms(centered))


def test_both_meanings_of_layer_norm_agree_on_vectors_and_differ_on_maps():
    sample, channels = randomized(LayerNorm(CHANNELS)), randomized(LayerNorm(CHANNELS, over="channels"))
    assert_alike(sample, channels, draw(VECTORS))
    assert (sample(draw(MAPS)) - channels(draw(MAPS))).abs().max() > 0.1


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.1, 10.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_each_group_has_mean_zero_and_variance_reduced_by_eps(shape, groups, eps):
    x = draw(shape) * 1.7 - 40
    norm = LayerNorm(CHANNELS, eps=eps) if groups == 1 else GroupNorm(CHANNELS, groups=groups, eps=eps)
    y = norm.double()(x).reshape(len(x), groups, -1)
    variance = x.reshape(len(x), groups, -1).var(2, correction=0)
    torch.testing.assert_close(y.mean(2), torch.zeros_like(variance), rtol=0, atol=1e-12)
    torch.testing.assert_close(y.var(2, correction=0), variance / (variance + eps), rtol=1e-10, atol=0)


@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_over_channels_each_position_has_mean_zero_and_variance_reduced_by_eps(eps):
    x = draw(MAPS) - 3
    y = LayerNorm(CHANNELS, eps=eps, over="channels").double()(x)
    variance = x.var(1, correction=0)
    torch.testing.assert_close(y.mean(1), torch.zeros_like(variance), rtol=0, atol=1e-12)
    torch.testing.assert_close(y.var(1, correction=0), variance / (variance + eps), rtol=1e-10, atol=0)


@pytest.mark.parametrize("over", ["sample", "channels"])
@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_rms_norm_has_mean_square_reduced_by_eps(over, eps):
    x = draw(MAPS)
    dims = [1] if over == "channels" else [1, 2, 3]
    square = x.square().mean(dims)
    y = RMSNorm(CHANNELS, eps=eps, over=over).double()(x)
    torch.testing.assert_close(y.square().mean(dims), square / (square + eps), rtol=1e-10, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_eps_null_of_rms_norm_is_the_smallest_step_of_the_number_type_at_one(dtype):
    x = draw(VECTORS, dtype) * 1e-4
    expected = RMSNorm(CHANNELS, eps=torch.finfo(dtype).eps).to(dtype)(x)
    assert torch.equal(RMSNorm(CHANNELS).to(dtype)(x), expected)
    assert not torch.equal(RMSNorm(CHANNELS, eps=1e-5).to(dtype)(x), expected)


@pytest.mark.parametrize("name", ["layer without affine", "rms", "instance", "group", "layer over channels"])
def test_a_scaled_input_gives_the_same_output_and_the_inverse_gradient(name):
    norm = randomized(NORMS[name]())
    norm.eps = 1e-12
    x = draw(MAPS)
    (y, gradient, *_), (scaled, of_scaled, *_) = (outputs_and_gradients(norm, a * x) for a in (1, 300.0))
    torch.testing.assert_close(scaled, y, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(300 * of_scaled, gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "shape"), OF_SINGLE_SAMPLES, ids=str)
def test_a_sample_does_not_depend_on_the_others_nor_on_the_mode(name, shape):
    norm, x = randomized(NORMS[name]()), draw(shape)
    y = norm.train()(x)
    close(norm.eval()(x), y)
    for index in range(len(x)):
        close(norm.train()(x[index : index + 1]), y[index : index + 1])
