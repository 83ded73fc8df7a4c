"""Population statistics layer by layer in eval mode: exact for every norm, whatever the batches."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from models.norms.base import RunningNorm
from models.norms.batch import StepBatchNorm
from worker.precise import Batches, Population, eval_mode, left_alone

#: A norm, and the time step of a norm that keeps statistics of each.
Place = tuple[RunningNorm, int | None]


class _Reached(Exception):  # no error: the forward pass has come as far as it needs to
    pass


@torch.no_grad()
def sequential(model: nn.Module, norms: Sequence[RunningNorm], batches: Callable[[], Batches]) -> list[Population]:
    """The population statistics of each norm, measured while all before it use theirs already.

    So they are those of the inputs that the norm has in eval mode, over all that `batches` gives (the same at
    every call), exact for every norm and for batches of any sizes from two values of a channel on; compare
    Lasagne/Recipes#38 on GitHub. An l_p norm's scale is the exception where the scale of the whole is not made of
    the parts': taken about each batch's own mean (`centered`), or the largest value, it is that of these batches.
    Takes one pass for each norm, each ended right there: half a forward pass on average; in a recurrent cell one
    for each norm and time step.
    Leaves parameters, buffers and modes as they were; draws nothing; float64.
    """
    found = {
        norm: {moment: stored.to(torch.float64, copy=True) for moment, _, stored in norm.running()}
        for norm in norms
    }
    with left_alone(norms), eval_mode(model):
        for norm, step in _places(model, norms, batches()):
            population = _measure(model, norm, step, batches())
            rows = ... if step is None else step
            for moment, _, running in norm.running():
                found[norm][moment][rows] = population[moment][rows]
                running[rows] = population[moment][rows]
    return [found[norm] for norm in norms]


def _places(model: nn.Module, norms: Sequence[RunningNorm], batches: Batches) -> list[Place]:
    """In the order of a forward pass."""
    found: list[Place] = []

    def note(norm: RunningNorm, inputs: tuple[Tensor, int]) -> None:
        if not isinstance(norm, StepBatchNorm):
            found.append((norm, None))
        elif inputs[1] < norm.steps:  # later ones use the statistics of the last
            found.append((norm, inputs[1]))

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        for inputs, _ in batches if norms else ():
            model(inputs)
            break
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _measure(model: nn.Module, norm: RunningNorm, step: int | None, batches: Batches) -> Population:
    """The population statistics of one norm; of a norm in a cell, those of one time step are right."""
    sums, count, values = torch.zeros(()), 0, 0

    def look(norm: RunningNorm, inputs: tuple[Tensor, ...]) -> None:
        nonlocal values
        if step is None or inputs[1] == step:
            norm.look(*inputs)
            values = inputs[0].numel() // inputs[0].shape[1]
            raise _Reached

    with norm.register_forward_pre_hook(look):
        for inputs, _ in batches:
            with suppress(_Reached):
                model(inputs)
            sums = norm.raw_moments(values) * values + sums
            count += values
    return norm.population(sums / count, count)
