"""What every kind of layer is."""

from dataclasses import dataclass
from typing import ClassVar

OptionValue = int | float | bool | str | None
#: Keyword arguments of a layer, in order.
Options = tuple[tuple[str, OptionValue], ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A part of a network. `kind` is its name in `config.json`."""

    kind: ClassVar[str]


#: Layers with the names that become parts of the dotted names of parameters and sites.
Named = tuple[tuple[str, Layer], ...]


def dotted(name: str, own_name: str) -> str:
    """The name of a layer inside the layer `name`, which is empty for the whole network."""
    return f"{name}.{own_name}" if name else own_name
