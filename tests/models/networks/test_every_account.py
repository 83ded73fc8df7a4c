"""Every network with every norm: what is known of its layers without torch against what runs through them."""

from functools import partial

import pytest
import torch
from torch import nn

from models.build import build
from models.measures import Shape
from models.shapes import LayerShape, layers, total_parameters
from tests.worker.networks import combinations, small_network, standardized_alone

BATCH = 2
CASES = [
    *((*names, {}) for names in combinations()),
    *((*names, {"groups": None}) for names in standardized_alone()),
]


def shapes_by_name(module: nn.Module, names: list[str], x: torch.Tensor) -> dict[str, set[tuple[Shape, Shape]]]:
    """What each layer takes and gives for one sample, at each of its calls, for a batch that runs through."""
    seen: dict[str, set[tuple[Shape, Shape]]] = {name: set() for name in names}

    def see(name, layer, inputs, output):
        seen[name].add((tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))

    for name in names:
        module.get_submodule(name).register_forward_hook(partial(see, name))
    module(x)
    return seen


def own_parameters(module: nn.Module, step: LayerShape) -> int:
    """Learned numbers of a layer that are not of a layer in it."""
    holds_others = step.layer.kind in ("residual", "recurrent")
    return sum(parameter.numel() for parameter in module.parameters(recurse=not holds_others))


@pytest.mark.parametrize(
    ("architecture", "norm", "position", "options"),
    CASES,
    ids=["-".join([*names, *("alone" for _ in options)]) for *names, options in CASES],
)
def test_shapes_and_parameters_of_every_layer_are_those_of_the_module(architecture, norm, position, options):
    blueprint = small_network(architecture, norm, position, **options).blueprint()
    module, account = build(blueprint), layers(blueprint)
    seen = shapes_by_name(module, [step.name for step in account], torch.randn(BATCH, *blueprint.input_shape))
    for step in account:
        ((taken, given),) = seen[step.name]
        # The account of a scaled branch is that of its product; the module takes what the branch takes.
        known = (taken if step.layer.kind == "residual" else step.input, step.output)
        assert (step.name, *known) == (step.name, taken, given)
        held = own_parameters(module.get_submodule(step.name), step)
        assert (step.name, step.parameters) == (step.name, held)
    assert total_parameters(blueprint) == sum(parameter.numel() for parameter in module.parameters())
