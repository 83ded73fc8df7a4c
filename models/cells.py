"""Recurrent layers whose gates and cell states can be normalized."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.norms.batch import StepBatchNorm


def _normalize(norm: nn.Module, x: Tensor, step: int) -> Tensor:
    y: Tensor = norm(x, step) if isinstance(norm, StepBatchNorm) else norm(x)
    return y


class RecurrentLayer(nn.Module):
    """Weights as `torch.nn.LSTM` and `torch.nn.GRU` have them, with one bias. (N, T, inputs) to (N, T, units).

    All weights begin uniform in +-1/sqrt(units), as torch's do. The norms are children of their own names.

    A hidden state that begins at 0 has no variance, nor have later ones while all inputs are alike, as the first
    rows of MNIST are. Batch norm then multiplies gradients by gamma / sqrt(eps) at each step, and with them the
    rounding errors, which soon are all that is left; so while `norm_hidden` uses the batch, in training or where
    batch statistics are measured, the hidden state begins with noise (Cooijmans et al. 2016, arXiv 1603.09025,
    section 5.1).
    """

    norm_hidden: nn.Module

    def __init__(
        self, *, inputs: int, units: int, gates: int, norms: Mapping[str, nn.Module], noise: float = 0.0
    ) -> None:
        super().__init__()
        self.units = units
        self.noise = noise
        self.weight_input = nn.Parameter(torch.empty(gates * units, inputs))
        self.weight_hidden = nn.Parameter(torch.empty(gates * units, units))
        self.bias = nn.Parameter(torch.empty(gates * units))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(units**-0.5), units**-0.5)
        for name, norm in norms.items():
            self.add_module(name, norm)

    def forward(self, x: Tensor) -> Tensor:
        inputs = x @ self.weight_input.T  # all time steps at once
        state = self.first_state(inputs)
        outputs = []
        for step, part in enumerate(inputs.unbind(1)):
            state = self.step(part, state, step)
            outputs.append(state[0])
        for norm in self.children():
            if isinstance(norm, StepBatchNorm):
                norm.end_sequence(len(outputs))
        return torch.stack(outputs, dim=1)

    def first_hidden(self, inputs: Tensor) -> Tensor:
        """Zeros, or noise where batch norm needs it: (N, units). inputs: (N, T, gates * units)."""
        hidden = inputs.new_zeros(len(inputs), self.units)
        by_batch = isinstance(self.norm_hidden, StepBatchNorm) and self.norm_hidden.by_batch
        return torch.randn_like(hidden) * self.noise if self.noise and by_batch else hidden

    def first_state(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The hidden state, and zeros for what else the cell keeps. inputs: (N, T, gates * units)."""
        raise NotImplementedError

    def step(self, inputs: Tensor, state: tuple[Tensor, ...], step: int) -> tuple[Tensor, ...]:
        """One time step; the new state begins with the output. inputs: (N, gates * units)."""
        raise NotImplementedError


class LSTM(RecurrentLayer):
    """Long short-term memory. Gates in torch's order: input, forget, cell, output.

    With layer norm Ba et al. 2016 (arXiv 1607.06450), equations 20 to 22; with batch norm Cooijmans et al. 2016
    (arXiv 1603.09025), equations 6 to 8, where `norm_input` and `norm_hidden` have no shift of their own.
    Children: norm_input (4 * units), norm_hidden (4 * units), norm_cell (units).
    """

    norm_input: nn.Module
    norm_cell: nn.Module

    def __init__(self, *, inputs: int, units: int, norms: Mapping[str, nn.Module], noise: float = 0.0) -> None:
        super().__init__(inputs=inputs, units=units, gates=4, norms=norms, noise=noise)

    def first_state(self, inputs: Tensor) -> tuple[Tensor, ...]:
        hidden = self.first_hidden(inputs)
        return hidden, torch.zeros_like(hidden)

    def step(self, inputs: Tensor, state: tuple[Tensor, ...], step: int) -> tuple[Tensor, ...]:
        hidden, cell = state
        recurrent = _normalize(self.norm_hidden, hidden @ self.weight_hidden.T, step)
        gates = _normalize(self.norm_input, inputs, step) + recurrent + self.bias
        take, keep, candidate, show = gates.chunk(4, dim=1)
        cell = keep.sigmoid() * cell + take.sigmoid() * candidate.tanh()
        return show.sigmoid() * _normalize(self.norm_cell, cell, step).tanh(), cell


class GRU(RecurrentLayer):
    """Gated recurrent units. Gates in torch's order: reset, update, candidate.

    With layer norm Ba et al. 2016 (arXiv 1607.06450), supplement, GRU: the two gates are normalized together, the
    candidate apart, and the reset gate acts on what is normalized. As in torch, `update` is the share of the old
    state (the supplement's is one minus it), and the bias is outside the reset gate's product, which has none.
    Children: norm_input, norm_hidden (2 * units), norm_input_candidate, norm_hidden_candidate (units).
    """

    norm_input: nn.Module
    norm_input_candidate: nn.Module
    norm_hidden_candidate: nn.Module

    def __init__(self, *, inputs: int, units: int, norms: Mapping[str, nn.Module], noise: float = 0.0) -> None:
        super().__init__(inputs=inputs, units=units, gates=3, norms=norms, noise=noise)

    def first_state(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return (self.first_hidden(inputs),)

    def step(self, inputs: Tensor, state: tuple[Tensor, ...], step: int) -> tuple[Tensor, ...]:
        (hidden,) = state
        recurrent = hidden @ self.weight_hidden.T
        sizes, units = [2 * self.units, self.units], self.units
        of_input, candidate_of_input = inputs.split(sizes, dim=1)
        of_hidden, candidate_of_hidden = recurrent.split(sizes, dim=1)
        gates = _normalize(self.norm_input, of_input, step) + _normalize(self.norm_hidden, of_hidden, step)
        reset, update = (gates + self.bias[: 2 * units]).sigmoid().chunk(2, dim=1)
        remembered = reset * _normalize(self.norm_hidden_candidate, candidate_of_hidden, step)
        taken = _normalize(self.norm_input_candidate, candidate_of_input, step) + self.bias[2 * units :]
        candidate = (taken + remembered).tanh()
        return ((1 - update) * candidate + update * hidden,)
