"""LSTM and GRU over a sequence, or over the rows of an image."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import Architecture, NormName
from models.kinds.base import Layer, Options
from models.kinds.containers import Chain
from models.kinds.layers import Dropout, Linear, Norm
from models.kinds.sequences import LastStep, Recurrent
from models.networks.rows import as_sequence
from models.placement import OUTPUT

Cell = Literal["lstm", "gru"]

#: The sites of each cell, and how many gates each normalizes together.
_SITES: dict[Cell, dict[str, int]] = {
    "lstm": {"norm_input": 4, "norm_hidden": 4, "norm_cell": 1},
    "gru": {"norm_input": 2, "norm_hidden": 2, "norm_input_candidate": 1, "norm_hidden_candidate": 1},
}


def recurrent(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    cell: Cell,
    hidden: Sequence[int],
    dropout: float = 0.0,
    gamma: float = 0.1,
    noise: float = 0.1,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """A recurrent layer for each number of units, then a linear output from the last time step.

    Dropout stands between the layers, not inside them (Zaremba et al. 2014, arXiv 1409.2329). The
    sites are inside the cells, so there is nothing to place: `models.cells` has their equations.

    Batch norm keeps statistics of each time step, its scales begin at `gamma`, and where it uses the batch the
    hidden state begins with `noise` (Cooijmans et al. 2016, arXiv 1603.09025, sections 3 to 5.1). Other norms
    have neither.
    """
    first, steps, inputs = as_sequence(input_shape)
    batch = norm.name == NormName.BATCH
    own: Options = (("steps", steps), ("gamma", gamma)) if batch else ()
    layers: list[tuple[str, Layer]] = [*first]
    for depth, units in enumerate(hidden, start=1):
        if dropout and depth > 1:
            layers.append((f"dropout{depth - 1}", Dropout(p=dropout)))
        layer = Recurrent(
            cell=cell,
            inputs=inputs,
            units=units,
            steps=steps,
            norms=tuple(_sites(cell, units, norm, own)),
            noise=noise if batch else 0.0,
        )
        layers.append((f"{cell}{depth}", layer))
        inputs = units
    layers += [("last", LastStep()), (OUTPUT, Linear(inputs=inputs, outputs=outputs))]
    return Blueprint(
        architecture=Architecture(cell),
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=Chain(layers=tuple(layers)),
    )


def _sites(cell: Cell, units: int, norm: NormChoice, own: Options) -> Iterator[tuple[str, Norm]]:
    """The sites of a cell; `own` are the options that batch norm has only there."""
    for name, gates in _SITES[cell].items():
        site = norm.site(gates * units)
        if own:
            # The cell's bias is the shift of all that is added up before the gates.
            site = replace(site, options=(*site.options, *own, ("shift", name == "norm_cell")))
        yield name, site
