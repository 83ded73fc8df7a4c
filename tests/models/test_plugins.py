"""What installed packages add to the catalogue, and what is said of one that cannot be used."""

import os
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch.nn import functional as F

from db.datasets import DATASETS, DatasetPlugin
from models.blueprint import Init, NormChoice
from models.build import build
from models.catalog.architectures import ARCHITECTURES
from models.catalog.names import Position
from models.catalog.norms import NORMS
from models.catalog.records import ArchitecturePlugin, NormPlugin
from models.catalog.registry import PluginError, load_plugins
from models.shapes import ShapeError, layers, total_parameters
from tests.packages import write_package
from tests.services import ROOT

NORM = """
from typing import Literal
from db.spec.norms.base import NormPart
from models.catalog.records import NormInfo, NormPlugin

class Halve(NormPart):
    name: Literal["halve"]

def plugin(name):
    info = NormInfo(name=name, summary="", formula="y = x / 2", reference="", eval_mode="the same")
    return NormPlugin(info=info, spec=Halve, layer="halving:Layer", architectures=("mlp",))

PLUGIN = plugin("halve")
BATCH = plugin("batch")
"""
GROUPS = {
    "normlab.norms": (NormPlugin, NORMS),
    "normlab.architectures": (ArchitecturePlugin, ARCHITECTURES),
    "normlab.datasets": (DatasetPlugin, DATASETS),
}


def load(group="normlab.norms"):
    kind, taken = GROUPS[group]
    return load_plugins(group, kind, taken)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that Python imports from, for as long as the test runs."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("halving", "broken", "other"):
        sys.modules.pop(name, None)


def test_a_package_adds_a_norm_under_its_name(site):
    write_package(site, "halving", NORM, {"normlab.norms": {"halve": "halving:PLUGIN"}})
    plugin = load()["halve"]
    assert (plugin.info.formula, plugin.layer) == ("y = x / 2", "halving:Layer")


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        ("import no_such_library\nPLUGIN = 1", "halve", "No module named 'no_such_library'"),
        ("raise RuntimeError('out of order')", "halve", "RuntimeError: out of order"),
        ("OTHER = 1", "halve", "has no attribute 'PLUGIN'"),
        ("PLUGIN = {'name': 'halve'}", "halve", "it is no NormPlugin"),
        (NORM, "double", "'halve'"),
        (NORM.replace('plugin("halve")', 'plugin("batch")'), "batch", "'batch' is in use"),
    ],
    ids=["import fails", "raises", "no such object", "of another kind", "another name", "name of a built-in"],
)
def test_a_package_that_cannot_be_used_is_named_with_the_reason(site, code, name, reason):
    write_package(site, "broken", code, {"normlab.norms": {name: "broken:PLUGIN"}})
    with pytest.raises(PluginError) as refused:
        load()
    message = str(refused.value)
    assert message.startswith(f"Entry point '{name}' of the group 'normlab.norms' cannot be used: ")
    assert reason in message


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_refuses_what_is_of_another_kind(site, group):
    write_package(site, "broken", "PLUGIN = object()", {group: {"odd": "broken:PLUGIN"}})
    with pytest.raises(PluginError, match=f"'odd' of the group '{group}'.* it is no {GROUPS[group][0].__name__}"):
        load(group)


def test_two_packages_of_one_name_are_refused(site):
    for package in ("halving", "other"):
        write_package(site, package, NORM, {"normlab.norms": {"halve": f"{package}:PLUGIN"}})
    with pytest.raises(PluginError, match="'halve' is in use"):
        load()


@pytest.mark.parametrize("module", ["api.main", "worker.run"])
def test_nothing_starts_with_a_broken_package(tmp_path, module):
    write_package(tmp_path / "site", "broken", "PLUGIN = 1", {"normlab.datasets": {"odd": "broken:PLUGIN"}})
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site"), "NORMLAB_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "Entry point 'odd' of the group 'normlab.datasets' cannot be used: it is no DatasetPlugin."
    )


@pytest.fixture
def example(monkeypatch) -> ModuleType:
    """The example package's network, without an entry point."""
    monkeypatch.syspath_prepend(ROOT / "examples" / "normlab-example")
    import normlab_example.lenet
    import normlab_example.mean_only_batch_layer

    return normlab_example


def test_the_examples_network_has_the_parameters_of_lenet_5_with_full_connections(example):
    blueprint = example.lenet.lenet((1, 28, 28), 10, norm=NormChoice(), init=Init())
    # 156 + 2,416 + 48,120 + 10,164 + 850: the paper's layers, the second convolution and the output dense.
    assert total_parameters(blueprint) == sum(p.numel() for p in build(blueprint).parameters()) == 61_706
    shapes = {layer.name: layer.output for layer in layers(blueprint)}
    assert (shapes["conv1"], shapes["conv2"], shapes["pool2"]) == ((6, 28, 28), (16, 10, 10), (16, 5, 5))


@pytest.mark.parametrize("position", [Position.BEFORE_ACTIVATION, Position.AFTER_ACTIVATION])
@pytest.mark.parametrize("side", [12, 13, 16, 32, 41])
def test_the_examples_network_runs_as_its_shapes_say(example, side, position):
    norm = NormChoice(name="batch", position=position)
    blueprint = example.lenet.lenet((3, side, side + 1), 7, norm=norm, init=Init())
    assert layers(blueprint)[-1].output == (7,)
    assert build(blueprint)(torch.zeros(2, 3, side, side + 1)).shape == (2, 7)


def test_the_examples_network_is_refused_for_images_that_are_too_small(example):
    with pytest.raises(ShapeError, match="'conv2'"):
        layers(example.lenet.lenet((1, 8, 8), 10, norm=NormChoice(), init=Init()))


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (6, 5, 3, 2)], ids=str)
def test_the_examples_norm_is_batch_norm_without_its_scale(example, shape):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    norm = example.mean_only_batch_layer.MeanOnlyBatchNorm(5).double()
    with torch.no_grad():
        norm.bias.normal_()
    # Batch norm, and its division taken back.
    var = x.transpose(0, 1).flatten(1).var(1, correction=0).detach()
    y = F.batch_norm(x, None, None, (var + 1e-5).sqrt(), norm.bias, True, 0.0, 1e-5)
    torch.testing.assert_close(norm(x), y, rtol=0, atol=1e-10)
    (gradient,) = torch.autograd.grad(norm(x).square().sum(), x)
    but_channels = [0, *range(2, x.dim())]
    torch.testing.assert_close(gradient.sum(but_channels), torch.zeros(5).double(), rtol=0, atol=1e-10)


def test_the_examples_norm_subtracts_in_eval_mode_what_it_has_stored(example):
    norm = example.mean_only_batch_layer.MeanOnlyBatchNorm(3)
    norm.moves_itself = True
    x = torch.arange(12.0).view(4, 3)
    norm(x)
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean(0))
    torch.testing.assert_close(norm.eval()(x), x - 0.1 * x.mean(0))
    population = norm.population(norm.raw_moments(4), 4)
    torch.testing.assert_close(population, {"mean": x.mean(0).double()})
    with pytest.raises(ValueError, match="more than 1 value"):
        norm.train()(torch.zeros(1, 3))
