"""What each kind of layer gives, holds and does for one sample; one small function for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from models.catalog.registry import norms
from models.kinds import layers, sequences
from models.kinds.base import Layer

#: Of one sample: (C, H, W), (T, F) or (F,).
Shape = tuple[int, ...]


class Mismatch(ValueError):
    """Why a layer does not take a shape."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The shape of one sample after a layer, its learned numbers, and its multiply-adds for one sample."""

    output: Shape
    parameters: int = 0
    operations: int = 0


def join_channels(shapes: Sequence[Shape]) -> Shape:
    """The shape of several outputs of one sample, one after the other in the channels.

    Raises:
        Mismatch: they differ in something other than channels.
    """
    if len({shape[1:] for shape in shapes}) > 1:
        raise Mismatch(
            f"its branches give {[list(shape) for shape in shapes]}; all but the channels must be equal"
        )
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise Mismatch("it takes images, [channels, height, width]")
    return (shape[0], shape[1], shape[2])


def _sequence(shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        raise Mismatch("it takes sequences, [steps, features]")
    return (shape[0], shape[1])


def _channels(wanted: int, given: int) -> None:
    if wanted != given:
        raise Mismatch(f"it takes {wanted} channels, not {given}")


def _flatten(layer: layers.Flatten, shape: Shape) -> Measure:
    return Measure(output=(prod(shape),))


def _linear(layer: layers.Linear, shape: Shape) -> Measure:
    if len(shape) == 3:
        raise Mismatch("it takes vectors, [features]; flatten the image or pool its whole maps before")
    _channels(layer.inputs, shape[-1])
    return Measure(
        output=(*shape[:-1], layer.outputs),
        parameters=(layer.inputs + layer.bias) * layer.outputs + _weight_parameters(layer),
        operations=prod(shape) * layer.outputs,
    )


def _weight_parameters(layer: layers.Linear | layers.Conv) -> int:
    """Learned numbers beside the weights: weight norm has a length for each filter."""
    return layer.outputs if layer.weight is not None and layer.weight.norm == "weight" else 0


def _conv(layer: layers.Conv, shape: Shape) -> Measure:
    channels, height, width = _image(shape)
    _channels(layer.inputs, channels)
    places = tuple(_windows(size, layer.kernel, layer.stride, layer.padding) for size in (height, width))
    weights = layer.inputs * layer.kernel**2
    return Measure(
        output=(layer.outputs, *places),
        parameters=(weights + layer.bias) * layer.outputs + _weight_parameters(layer),
        operations=weights * layer.outputs * prod(places),
    )


def _windows(size: int, kernel: int, stride: int, padding: int, *, ceiled: bool = False) -> int:
    """How many windows there are along a side."""
    room = size + 2 * padding - kernel
    if room < 0:
        raise Mismatch(
            f"a window of {kernel} does not fit a side of {size} with padding {padding}; images must be larger, "
            "or shrink less before it"
        )
    count = ceil(room / stride) + 1 if ceiled else room // stride + 1
    # A window that would begin beyond the padded input is left out (torch's rule).
    return count - 1 if ceiled and (count - 1) * stride >= size + padding else count


def _pool(layer: layers.Pool, shape: Shape) -> Measure:
    channels, height, width = _image(shape)
    if layer.padding > layer.kernel // 2:
        raise Mismatch(f"padding {layer.padding} is more than half of the window of {layer.kernel}")
    places = tuple(
        _windows(size, layer.kernel, layer.stride, layer.padding, ceiled=layer.ceil) for size in (height, width)
    )
    return Measure(output=(channels, *places), operations=channels * prod(places) * layer.kernel**2)


def _global_pool(layer: layers.GlobalPool, shape: Shape) -> Measure:
    channels, height, width = _image(shape)
    return Measure(output=(channels,), operations=channels * height * width)


def _elementwise(layer: Layer, shape: Shape) -> Measure:
    return Measure(output=shape, operations=prod(shape))


def _norm(layer: layers.Norm, shape: Shape) -> Measure:
    if not shape or (layer.tokens and len(shape) != 2):
        raise Mismatch("it takes sequences, [tokens, features]" if layer.tokens else "there are no channels")
    _channels(layer.features, shape[-1 if layer.tokens else 0])
    return Measure(output=shape, parameters=_norm_parameters(layer, fused=False), operations=prod(shape))


def _norm_activation(layer: layers.NormActivation, shape: Shape) -> Measure:
    if not shape:
        raise Mismatch("there are no channels")
    _channels(layer.features, shape[0])
    return Measure(output=shape, parameters=_norm_parameters(layer, fused=True), operations=2 * prod(shape))


def _norm_parameters(layer: layers.Norm | layers.NormActivation, *, fused: bool) -> int:
    info, options = norms()[layer.norm], dict(layer.options)
    each = info.per_channel if options.get("affine", True) else 0
    if each and options.get("shift") is False:
        each -= 1
    return layer.features * (each + (info.fused_per_channel if fused else 0)) + info.per_site


def _zero_pad(layer: layers.ZeroPad, shape: Shape) -> Measure:
    channels, height, width = _image(shape)
    _channels(layer.inputs, channels)
    return Measure(output=(layer.outputs, ceil(height / layer.stride), ceil(width / layer.stride)))


def _rows(layer: sequences.Rows, shape: Shape) -> Measure:
    channels, height, width = _image(shape)
    return Measure(output=(height, channels * width))


def _recurrent(layer: sequences.Recurrent, shape: Shape) -> Measure:
    steps, features = _sequence(shape)
    _channels(layer.inputs, features)
    if steps != layer.steps:
        raise Mismatch(f"it takes {layer.steps} time steps, not {steps}")
    gates = 4 if layer.cell == "lstm" else 3
    weights = gates * layer.units * (layer.inputs + layer.units)
    return Measure(
        output=(steps, layer.units),
        parameters=weights + gates * layer.units,
        operations=steps * weights,
    )


def _last_step(layer: sequences.LastStep, shape: Shape) -> Measure:
    return Measure(output=_sequence(shape)[1:])


def _patchify(layer: sequences.Patchify, shape: Shape) -> Measure:
    channels, height, width = _image(shape)
    _channels(layer.inputs, channels)
    if height % layer.patch or width % layer.patch:
        raise Mismatch(f"patches of {layer.patch} do not divide its sides")
    tokens, weights = (height // layer.patch) * (width // layer.patch), channels * layer.patch**2
    return Measure(
        output=(tokens, layer.features),
        parameters=(weights + 1) * layer.features,
        operations=tokens * weights * layer.features,
    )


def _positional_embedding(layer: sequences.PositionalEmbedding, shape: Shape) -> Measure:
    if shape != (layer.tokens, layer.features):
        raise Mismatch(f"it takes [{layer.tokens}, {layer.features}]")
    return Measure(output=shape, parameters=prod(shape), operations=prod(shape))


def _attention(layer: sequences.Attention, shape: Shape) -> Measure:
    tokens, features = _sequence(shape)
    _channels(layer.features, features)
    if features % layer.heads:
        raise Mismatch(f"{features} features are not divisible by {layer.heads} heads")
    return Measure(
        output=shape,
        parameters=4 * features * (features + 1),
        operations=4 * tokens * features**2 + 2 * tokens**2 * features,
    )


def _mean_token(layer: sequences.MeanToken, shape: Shape) -> Measure:
    return Measure(output=_sequence(shape)[1:], operations=prod(shape))


MEASURES: dict[type[Layer], Callable[[Any, Shape], Measure]] = {
    layers.Flatten: _flatten,
    layers.Linear: _linear,
    layers.Conv: _conv,
    layers.Pool: _pool,
    layers.GlobalPool: _global_pool,
    layers.Activation: _elementwise,
    layers.Dropout: _elementwise,
    layers.Norm: _norm,
    layers.NormActivation: _norm_activation,
    layers.ZeroPad: _zero_pad,
    sequences.Rows: _rows,
    sequences.Recurrent: _recurrent,
    sequences.LastStep: _last_step,
    sequences.Patchify: _patchify,
    sequences.PositionalEmbedding: _positional_embedding,
    sequences.Attention: _attention,
    sequences.MeanToken: _mean_token,
}
