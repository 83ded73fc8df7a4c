"""The network that a spec declares layer by layer."""

from collections.abc import Iterator, Mapping
from string import ascii_lowercase
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from db.spec.architectures.base import ArchitecturePart
from db.spec.architectures.declared import DeclaredLayer, PoolLayer, ResidualLayer
from db.spec.errors import spec_error
from models.blueprint import Blueprint, NormChoice
from models.networks.sequential import sequential
from models.placement import OUTPUT

#: Layers of a network, those of its residual blocks included, and how deep blocks may stand in one another.
MOST_LAYERS = 256
DEEPEST = 4
LIMIT = f"1 to {MOST_LAYERS} layers"

#: Where the layers stand in a spec.
FIELD = "/architecture/layers"


class Sequential(ArchitecturePart):
    """Layers that the spec declares; the last one gives a number for each class of the data."""

    name: Literal["sequential"]
    layers: tuple[DeclaredLayer, ...]
    """At most 256, those in residual blocks included; blocks stand at most 4 deep in one another."""

    @field_validator("layers", mode="before")
    @classmethod
    def _check_size(cls, value: Any) -> Any:
        # Before anything else is looked at, so that a huge or deep list costs nothing.
        if value in ([], ()):
            raise spec_error("too_few_layers", FIELD, "A network has at least one layer.", allowed=LIMIT)
        for count, (pointer, depth, _) in enumerate(_places(value), start=1):
            if count > MOST_LAYERS:
                message = f"A network has at most {MOST_LAYERS} layers, those of residual blocks included."
                raise spec_error("too_many_layers", FIELD, message, allowed=LIMIT)
            if depth > DEEPEST:
                message = (
                    f"Residual blocks stand at most {DEEPEST} deep in one another; put some one after the other."
                )
                raise spec_error("too_deep", pointer, message)
        return value

    @model_validator(mode="after")
    def _check_pools(self) -> Self:
        for pointer, _, layer in _places(self.layers):
            if isinstance(layer, PoolLayer) and layer.kernel is None and (layer.stride or layer.padding):
                field = "stride" if layer.stride else "padding"
                raise spec_error(
                    "pool_without_kernel",
                    f"{pointer}/{field}",
                    f"A pool of whole maps has no {field}. Give kernel, the side of the window, or leave {field} "
                    "out.",
                )
        return self

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        return sequential(
            input_shape,
            outputs,
            layers=[layer.record() for layer in self.layers],
            norm=norm,
            init=self.init.record(),
        )

    def pointer(self, layer: str) -> str:
        path, field = "/architecture", "layers"
        for part in layer.split("."):
            if part == "shortcut":
                field = part
                continue
            index = len(self.layers) - 1 if part == OUTPUT else int(part.lstrip(ascii_lowercase + "_"))
            path, field = f"{path}/{field}/{index}", "layers"
        return path


def _places(value: Any) -> Iterator[tuple[str, int, Any]]:
    """Pointer of every layer of a list, how many residual blocks it stands in, and the layer, checked or not.

    Not recursive: an unchecked list may be of any depth.
    """
    waiting = [(FIELD, value, 0)]
    while waiting:
        pointer, given, depth = waiting.pop()
        for index, layer in enumerate(given if isinstance(given, list | tuple) else ()):
            here = f"{pointer}/{index}"
            yield here, depth, layer
            if isinstance(layer, Mapping | ResidualLayer):
                values = layer if isinstance(layer, Mapping) else vars(layer)
                waiting += [(f"{here}/{field}", values.get(field), depth + 1) for field in ("layers", "shortcut")]
