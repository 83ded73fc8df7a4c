"""What a recorded step tells besides moments: of the norm's scale and shift, the layer before, the activation.

Everything stays on the device until a flush; nothing here waits for it.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from models.catalog.names import ActivationName
from models.neighbours import Neighbours
from models.norms.base import Normalization, widened
from worker.columns import Columns, by_site, joined
from worker.lengths import LayerLengths

#: Which outputs of an activation say that it passes nothing on, and what the share of them is called. tanh is the
#: sigmoid in other units: 0.98 is where the sigmoid is 0.99.
IDLE: dict[ActivationName, tuple[str, Callable[[Tensor], Tensor]]] = {
    ActivationName.RELU: ("zero", lambda y: y <= 0),
    ActivationName.SIGMOID: ("saturated", lambda y: (y - 0.5).abs() > 0.49),
    ActivationName.TANH: ("saturated", lambda y: y.abs() > 0.98),
}


class Affine:
    """Scale and shift of each channel: `affine.gamma` and `affine.beta`."""

    def __init__(self, norms: Mapping[str, Normalization]) -> None:
        found = [
            (site, column, values)
            for site, norm in norms.items()
            for column, name in (("affine.gamma", "weight"), ("affine.beta", "bias"))
            if isinstance(values := getattr(norm, name, None), Tensor) and values.dim() == 1
        ]
        self._columns = [(site, column) for site, column, _ in found]
        self._values = [values.detach() for _, _, values in found]
        self._rows: list[Tensor] = []

    def take(self) -> None:
        if self._values:
            self._rows.append(torch.cat(self._values))

    def flush(self) -> dict[str, Columns]:
        rows, self._rows = self._rows, []
        if not rows:
            return {}
        parts = torch.stack(rows).cpu().split([len(values) for values in self._values], dim=1)
        return by_site((site, column, part) for (site, column), part in zip(self._columns, parts, strict=True))


class ActivationShares:
    """Of the activation beside each site: the share of each channel's values that pass nothing on."""

    def __init__(self, model: nn.Module, neighbours: Mapping[str, Neighbours]) -> None:
        found = {site: each.activation for site, each in neighbours.items() if each.activation is not None}
        self._sites = {site: beside for site, beside in found.items() if beside.activation in IDLE}
        self._activations = {
            beside.name: (model.get_submodule(beside.name), *IDLE[beside.activation])
            for beside in self._sites.values()
        }
        self._latest: dict[str, Tensor] = {}
        self._rows: dict[str, list[Tensor]] = {name: [] for name in self._activations}

    def hook(self, hooks: ExitStack) -> None:
        for name, (module, _, is_idle) in self._activations.items():
            hooks.callback(module.register_forward_hook(self._keep(name, is_idle)).remove)

    def _keep(
        self, name: str, is_idle: Callable[[Tensor], Tensor]
    ) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            with torch.no_grad():
                idle = is_idle(output)
                self._latest[name] = idle.mean([0, *range(2, idle.dim())], dtype=widened(output[:0]).dtype)

        return keep

    def take(self) -> None:
        for name, share in self._latest.items():
            self._rows[name].append(share)

    def flush(self) -> dict[str, Columns]:
        tables = {name: torch.stack(rows).cpu() for name, rows in self._rows.items() if rows}
        self._rows = {name: [] for name in self._activations}
        return by_site(
            (site, f"activation.{self._activations[beside.name][1]}", tables[beside.name])
            for site, beside in self._sites.items()
            if beside.name in tables
        )


class Details:
    """All of these together."""

    def __init__(
        self,
        model: nn.Module,
        norms: Mapping[str, Normalization],
        neighbours: Mapping[str, Neighbours],
        learning_rate: Callable[[], float],
    ) -> None:
        self._layers = LayerLengths(model, neighbours, learning_rate)
        self._shares = ActivationShares(model, neighbours)
        self._parts = (Affine(norms), self._layers, self._shares)

    def hook(self, hooks: ExitStack) -> None:
        """Look at the forward pass of a recorded step, until the hooks are removed."""
        self._layers.hook(hooks)
        self._shares.hook(hooks)

    def take(self) -> None:
        """Keep a step, before the optimizer moves the weights."""
        for part in self._parts:
            part.take()

    def flush(self) -> dict[str, Columns]:
        """The columns of each site since the last flush, on the host."""
        return joined(part.flush() for part in self._parts)
