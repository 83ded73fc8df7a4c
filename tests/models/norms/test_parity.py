"""Norms against torch's own: the same numbers, gradients and names."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.norms.group import GroupNorm, InstanceNorm
from models.norms.layer import LayerNorm, RMSNorm
from models.norms.response import LocalResponseNorm
from tests.models.norms.support import CHANNELS, MAPS, VECTORS, draw, outputs_and_gradients, randomized

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
SEQUENCES = (3, CHANNELS, 7)
WHOLE_MAP = MAPS[1:]


class OfPositions(nn.Module):
    """A layer of the last dimension, put to the channels of each position."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.weight, self.bias = inner.weight, getattr(inner, "bias", None)
        self.__dict__["inner"] = inner  # no child: the names are those of the layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x.movedim(1, -1))
        return y.movedim(-1, 1)


Maker = Callable[[], nn.Module]
PAIRS: dict[str, tuple[Maker, Maker, list[tuple[int, ...]]]] = {
    "layer": (lambda: LayerNorm(CHANNELS), lambda: nn.LayerNorm(CHANNELS), [VECTORS]),
    "layer, large eps": (lambda: LayerNorm(CHANNELS, eps=0.5), lambda: nn.LayerNorm(CHANNELS, eps=0.5), [VECTORS]),
    "layer without affine": (
        lambda: LayerNorm(CHANNELS, affine=False),
        lambda: nn.LayerNorm(WHOLE_MAP, elementwise_affine=False),
        [MAPS],
    ),
    "layer of maps": (lambda: LayerNorm(CHANNELS), lambda: nn.GroupNorm(1, CHANNELS), [SEQUENCES, MAPS]),
    "layer over channels": (
        lambda: LayerNorm(CHANNELS, over="channels"),
        lambda: OfPositions(nn.LayerNorm(CHANNELS)),
        [VECTORS, SEQUENCES, MAPS],
    ),
    "rms": (lambda: RMSNorm(CHANNELS), lambda: nn.RMSNorm(CHANNELS), [VECTORS]),
    "rms, large eps": (lambda: RMSNorm(CHANNELS, eps=0.5), lambda: nn.RMSNorm(CHANNELS, eps=0.5), [VECTORS]),
    "rms without affine": (
        lambda: RMSNorm(CHANNELS, affine=False),
        lambda: nn.RMSNorm(WHOLE_MAP, elementwise_affine=False),
        [MAPS],
    ),
    "rms over channels": (
        lambda: RMSNorm(CHANNELS, over="channels"),
        lambda: OfPositions(nn.RMSNorm(CHANNELS)),
        [VECTORS, SEQUENCES, MAPS],
    ),
    "group": (
        lambda: GroupNorm(CHANNELS, groups=2),
        lambda: nn.GroupNorm(2, CHANNELS),
        [VECTORS, SEQUENCES, MAPS],
    ),
    "group without affine": (
        lambda: GroupNorm(CHANNELS, groups=3, eps=0.1, affine=False),
        lambda: nn.GroupNorm(3, CHANNELS, eps=0.1, affine=False),
        [SEQUENCES, MAPS],
    ),
    "instance": (lambda: InstanceNorm(CHANNELS), lambda: nn.InstanceNorm2d(CHANNELS), [MAPS]),
    "instance with affine": (
        lambda: InstanceNorm(CHANNELS, eps=0.1, affine=True),
        lambda: nn.InstanceNorm2d(CHANNELS, eps=0.1, affine=True),
        [MAPS],
    ),
    "instance of sequences": (
        lambda: InstanceNorm(CHANNELS, affine=True),
        lambda: nn.InstanceNorm1d(CHANNELS, affine=True),
        [SEQUENCES],
    ),
    "local response": (
        lambda: LocalResponseNorm(CHANNELS),
        lambda: nn.LocalResponseNorm(5),
        [SEQUENCES, MAPS],
    ),
    "local response, all options": (
        lambda: LocalResponseNorm(CHANNELS, size=4, alpha=2.0, beta=0.6, k=1.5),
        lambda: nn.LocalResponseNorm(4, alpha=2.0, beta=0.6, k=1.5),
        [SEQUENCES, MAPS],
    ),
    "local response, wide": (
        lambda: LocalResponseNorm(CHANNELS, size=30, alpha=2.0),
        lambda: nn.LocalResponseNorm(30, alpha=2.0),
        [SEQUENCES, MAPS],
    ),
}
CASES = [(name, shape) for name, (_, _, shapes) in PAIRS.items() for shape in shapes]


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
@pytest.mark.parametrize(("name", "shape"), CASES, ids=str)
def test_outputs_and_gradients_equal_those_of_torch(name, shape, training, dtype):
    make, make_stock, _ = PAIRS[name]
    stock = randomized(make_stock(), dtype).train(training)
    ours = make().to(dtype).train(training)
    ours.load_state_dict(stock.state_dict())
    found, expected = (outputs_and_gradients(norm, draw(shape, dtype)) for norm in (ours, stock))
    assert expected[1].abs().max() > 1e-3
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", PAIRS)
def test_state_dict_has_the_names_shapes_and_first_values_of_torch(name):
    make, make_stock, _ = PAIRS[name]
    found, expected = make().state_dict(), make_stock().state_dict()
    assert list(found) == list(expected)
    for one, other in zip(found.values(), expected.values(), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert torch.equal(one, other)


@pytest.mark.parametrize("shape", [VECTORS, (4, CHANNELS, 1), (4, CHANNELS, 1, 1)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_instance_norm_refuses_one_value_of_a_channel_as_torch_does(shape, training):
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        InstanceNorm(CHANNELS).train(training)(draw(shape))


def test_group_norm_refuses_channels_that_its_groups_do_not_divide():
    with pytest.raises(ValueError, match="6 channels are not divisible by 4 groups"):
        GroupNorm(CHANNELS, groups=4)
