"""Networks to fold, states to fold them with, and how far a folded network may be from the whole one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.blueprint import Blueprint, Init, NormChoice, chain
from models.build import build
from models.catalog.names import ActivationName
from models.fold import DIVISORS, Folded
from models.kinds.base import Layer
from models.kinds.layers import Activation, Conv, Norm, Parametrization
from models.networks.cnn import cnn
from models.networks.densenet import densenet
from models.networks.inception import inception
from models.networks.mlp import mlp
from models.networks.resnet import resnet
from models.networks.vgg import vgg
from models.shapes import layers, sites

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
IMAGE = (3, 8, 8)

dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
foldable = pytest.mark.parametrize("name", list(DIVISORS), ids=str)


def network(name: str, norm: NormChoice) -> Blueprint:
    """A small one of each kind of network."""
    return NETWORKS[name](IMAGE, 5, norm=norm, init=Init())


#: With ReLU: a sigmoid would make large values small and leave the rounding errors that go with them.
NETWORKS: dict[str, Callable[..., Blueprint]] = {
    "mlp": lambda *data, **rest: mlp(*data, hidden=[16, 12], **rest),
    "cnn": lambda *data, **rest: cnn(*data, channels=[6, 8], **rest),
    "vgg": lambda *data, **rest: vgg((3, 32, 32), *data[1:], depth=11, width=8, **rest),
    "resnet": lambda *data, **rest: resnet(*data, depth=8, width=8, **rest),
    "inception": lambda *data, **rest: inception((3, 32, 32), *data[1:], form="cifar", width=0.125, **rest),
    "densenet": lambda *data, **rest: densenet(*data, depth=10, growth=4, bottleneck=True, **rest),
}


def of_layers(*named: tuple[str, Layer], input_shape=IMAGE) -> Blueprint:
    blueprint = Blueprint(
        architecture="sequential", input_shape=input_shape, outputs=0, init=Init(), body=chain(*named)
    )
    assert layers(blueprint)
    return blueprint


def conv(outputs: int = 4, *, inputs: int = 3, bias: bool = False, weight: Parametrization | None = None) -> Conv:
    return Conv(inputs=inputs, outputs=outputs, kernel=3, padding=1, bias=bias, weight=weight)


def batch(features: int = 4, name: str = "batch", **options) -> Norm:
    return Norm(norm=name, features=features, options=tuple(options.items()))


RELU = Activation(activation=ActivationName.RELU)


#: Powers of ten that variances lie between.
EXTREME = (-8.0, 4.0)
MILD = (-1.0, 1.0)


def log_uniform(like: Tensor, low: float, high: float) -> Tensor:
    """Both ends are in it."""
    values = 10 ** torch.empty_like(like).uniform_(low, high)
    values[..., 1] = 10**low
    values[..., 2] = 10**high
    return values


def trained_state(blueprint: Blueprint, dtype: torch.dtype, variances=EXTREME) -> dict[str, Tensor]:
    """A state with what training can make of a norm: scales of both signs and 0, variances small and large."""
    low, high = variances
    state = build(blueprint).to(dtype).state_dict()
    for site in sites(blueprint):
        for name, value in state.items():
            if not name.startswith(f"{site.name}."):
                continue
            match name.rpartition(".")[2]:
                case "weight":
                    state[name] = torch.randn_like(value)
                    state[name][0] = 0.0
                    state[name][1] = -1.5
                case "bias" | "running_mean":
                    state[name] = torch.randn_like(value)
                case "running_var":
                    state[name] = log_uniform(value, low, high)
                case "running_std" | "running_scale":
                    state[name] = log_uniform(value, low / 2, high / 2)
    return state


@torch.no_grad()
def assert_same_outputs(blueprint: Blueprint, state: dict[str, Tensor], folded: Folded) -> None:
    """Within the tolerance of the largest value of each channel, on inputs that no statistics were made of."""
    models = build(blueprint), build(folded.blueprint)
    dtype = next(value.dtype for value in state.values() if value.is_floating_point())
    for model, values in zip(models, (state, folded.state), strict=True):
        model.to(dtype).load_state_dict(values)
        model.eval()
    x = torch.randn(20, *blueprint.input_shape, dtype=dtype) * 2 + 0.5
    expected, found = (model(x).movedim(1, 0).flatten(1) for model in models)
    largest = expected.abs().amax(1)
    assert expected.isfinite().all()
    assert largest.max() > 0
    assert ((found - expected).abs().amax(1) <= TOLERANCE[dtype] * largest).all()
