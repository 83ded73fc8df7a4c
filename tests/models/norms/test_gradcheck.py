"""Gradients of input and parameters against differences, in float64."""

import pytest
import torch
from torch import Tensor

from tests.models.norms.support import NORMS, NORMS_AND_SHAPES, draw, randomized


@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
@pytest.mark.parametrize(("name", "shape"), NORMS_AND_SHAPES, ids=str)
def test_gradcheck_passes_for_input_and_all_parameters(name, shape, training):
    norm = randomized(NORMS[name]()).train(training)
    names = [own for own, _ in norm.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(norm, dict(zip(names, parameters, strict=True)), (x,))

    x = draw((3, *shape[1:])).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *norm.parameters()))
