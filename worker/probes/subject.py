"""A model that probes ask questions, and that does not change by being asked."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.func import functional_call

from models.norms.base import RunningNorm
from worker import precise
from worker.probes.base import State


class Subject:
    """The copied model of a `State`: its loss and gradients at any parameters, its layers at any inputs.

    Train mode here is without dropout and noise (`precise.batch_statistics`), in float32 whatever the precision
    of the job. Spectral norm has the vectors of the step; batch renormalization corrects towards running averages
    that have taken the step's batch in.

    Every pass begins with torch's generators as they are and leaves them so: a recurrent layer that begins with
    noise begins with the same noise each time. Parameters are only read, and what a pass leaves in the scratch
    buffers of norms, nothing reads.
    """

    def __init__(self, state: State) -> None:
        self.model = state.before
        #: Forward passes so far, with those that a backward pass followed.
        self.passes = 0
        self._state = state
        self._norms = [module for module in self.model.modules() if isinstance(module, RunningNorm)]

    def learned(self) -> dict[str, Tensor]:
        """The parameters that take part in training, by name."""
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    def gradients(
        self, of: Sequence[str], at: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of the step's batch, and the gradients of what is minimized by the parameters in `of`.

        `at` gives parameters in place of the model's own. A gradient is 0 where nothing depends on a parameter.
        """
        own = dict(self.model.named_parameters())
        leaves = {name: (at or {}).get(name, own[name]).detach().requires_grad_() for name in of}
        with self.train_mode(), torch.enable_grad():
            outputs = self._forward(self._state.inputs, {**(at or {}), **leaves})
            minimized = self._state.objective.minimized(outputs, self._state.targets)
            found = torch.autograd.grad(minimized, list(leaves.values()), materialize_grads=True)
        loss = self._state.objective.loss(outputs.detach(), self._state.targets)
        return loss, dict(zip(of, found, strict=True))

    @torch.no_grad()
    def run(self, inputs: Tensor) -> None:
        """A forward pass in the mode that the model is in, for what hooks see of it."""
        self._forward(inputs, {})

    def train_mode(self) -> AbstractContextManager[None]:
        """The function that the step trained: frozen norms normalize by what they have stored."""
        return precise.batch_statistics(self.model, self._norms, thaw=False)

    def batch_statistics(self) -> AbstractContextManager[None]:
        """Train mode as if no norm were frozen."""
        return precise.batch_statistics(self.model, self._norms)

    def eval_mode(self) -> AbstractContextManager[None]:
        """The function that would be deployed."""
        return precise.eval_mode(self.model)

    def _forward(self, inputs: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        self.passes += 1
        with precise.generators_kept(self.model):
            outputs: Tensor = functional_call(self.model, dict(parameters), (inputs,))
            return outputs
