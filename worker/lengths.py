"""Lengths (2-norms) of the weight of the layer before each site, and of its gradient."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from models.neighbours import Neighbours
from models.norms.base import widened
from worker.columns import Columns, by_site


class LayerLengths:
    """`layer.weight_norm`, `layer.gradient_norm` and `layer.effective_lr` = lr / |weight|^2 of each site's layer.

    The last is, with SGD, the learning rate of the weight's direction, where a norm takes out its length (van
    Laarhoven 2017, arXiv 1706.05350). Of a weight that is computed from other parameters, the length is of the
    weight that the step used, and the gradient that of these parameters together.
    """

    def __init__(
        self, model: nn.Module, neighbours: Mapping[str, Neighbours], learning_rate: Callable[[], float]
    ) -> None:
        layers = {site: (each.layer, each.rows) for site, each in neighbours.items() if each.layer is not None}
        weights = {part: _Weight(model, *part) for part in layers.values()}  # two sites may share a layer
        self._weights = list(weights.values())
        self._places = {site: list(weights).index(part) for site, part in layers.items()}
        self._learning_rate = learning_rate
        self._rows: list[Tensor] = []
        self._rates: list[float] = []

    def hook(self, hooks: ExitStack) -> None:
        """Look at the forward pass of a recorded step, until the hooks are removed."""
        for weight in self._weights:
            weight.hook(hooks)

    def take(self) -> None:
        """Keep a step, before the optimizer moves the weights."""
        if self._weights:
            weights = [weight.used for weight in self._weights]
            gradients = [gradient for weight in self._weights for gradient in weight.gradients()]
            self._rows.append(torch.stack(torch._foreach_norm(weights + gradients)))
            self._rates.append(self._learning_rate())

    def flush(self) -> dict[str, Columns]:
        """The columns of each site since the last flush."""
        rows, rates = self._rows, torch.tensor(self._rates, dtype=torch.float64)
        self._rows, self._rates = [], []
        if not rows:
            return {}
        behind = [len(weight.parameters) for weight in self._weights]
        weights, *parts = torch.stack(rows).cpu().split([len(behind), *behind], dim=1)
        gradients = [part.square().sum(1).sqrt() for part in parts]
        effective = (rates[:, None] / weights.double().square()).to(weights.dtype)

        def columns() -> Iterator[tuple[str, str, Tensor]]:
            for site, place in self._places.items():
                yield site, "layer.weight_norm", weights[:, place]
                yield site, "layer.gradient_norm", gradients[place]
                yield site, "layer.effective_lr", effective[:, place]

        return by_site(columns())


class _Weight:
    """The weight of one layer, or some of its rows, and the parameters behind it.

    These are the weight itself, or those that it is computed from.
    """

    def __init__(self, model: nn.Module, name: str, rows: tuple[int, int] | None) -> None:
        modules = dict(model.named_modules())
        # A cell has several weights, and its neighbours name one; other layers are named.
        owner, _, weight = (name, "", "weight") if name in modules else name.rpartition(".")
        parametrized = f"{owner}.parametrizations.{weight}"
        self._computed = modules.get(parametrized)
        if self._computed is None:
            self.parameters = [modules[owner].get_parameter(weight)]
        else:
            self.parameters = list(self._computed.parameters())
        self._rows = slice(*rows) if rows else slice(None)
        self.used = self._part(self.parameters[0].detach())

    def hook(self, hooks: ExitStack) -> None:
        """Keep the weight that the step uses: computed once more, spectral norm would move on its estimate."""

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.used = widened(output.detach())

        if self._computed is not None:
            hooks.callback(self._computed.register_forward_hook(keep).remove)

    def gradients(self) -> list[Tensor]:
        """NaN for a parameter that has none."""
        return [
            each.new_full((), torch.nan) if each.grad is None else self._part(each.grad)
            for each in self.parameters
        ]

    def _part(self, values: Tensor) -> Tensor:
        return values if self._computed is not None else values[self._rows]
