"""`modeling.py`: the sources of normlab's layers in one file, and what loads a network with them."""

import ast
import importlib.util
import inspect
import json
import linecache
import os
import pickle
import subprocess
import sys
import traceback
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models import build, layers
from models.blueprint import Blueprint, Init, NormChoice, to_json
from models.catalog.names import InitName
from models.networks.mlp import mlp
from tests.packages import write_package
from tests.services import ROOT
from tests.worker.exported import run_isolated
from worker import export, loader
from worker.modeling import modeling_text

#: By module: the line that it begins in, and its source.
Packed = dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def modeling(tmp_path_factory):
    """The file, imported under a name of its own."""
    path = tmp_path_factory.mktemp("modeling") / "modeling.py"
    path.write_bytes(export.modeling_bytes())
    spec = importlib.util.spec_from_file_location("modeling_under_test", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == spec.name]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def packed() -> Packed:
    """The sources in the file, which states the line of each."""
    calls = [node.value for node in ast.parse(modeling_text()).body if isinstance(node, ast.Expr)]
    arguments = [(call.lineno, *map(ast.literal_eval, call.args)) for call in calls if isinstance(call, ast.Call)]
    assert all(line == stated for line, _, stated, _ in arguments)
    return {name: (line, source) for line, name, _, source in arguments}


def write(folder, blueprint: Blueprint, model: nn.Module, **changes) -> tuple[str, str]:
    """The two files of an export."""
    config = {
        "format": loader.CONFIG_FORMAT,
        "version": loader.CONFIG_VERSION,
        "network": to_json(blueprint),
        "installed_norms": {},
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    save_file(model.state_dict(), folder / "model.safetensors")
    return str(folder / "config.json"), str(folder / "model.safetensors")


def small(norm: str = "batch", *, init: Init | None = None, **options) -> Blueprint:
    choice = NormChoice(name=norm, options=tuple(options.items()))
    return mlp((6,), 3, hidden=[5, 4], norm=choice, init=init or Init())


def absolute(source: str, name: str, is_package: bool) -> ast.Module:
    """Its syntax, with relative imports resolved as Python does it."""
    tree = ast.parse(source)
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            relative = "." * node.level + (node.module or "")
            node.module, node.level = importlib.util.resolve_name(relative, package).rstrip("."), 0
    return tree


def test_the_packed_sources_are_those_of_the_service(packed):
    assert {"models", "models.build", "models.norms.table", "models.kinds.containers"} <= set(packed)
    assert not {"models.catalog.norms", "models.catalog.registry", "models.fold", "models.shapes"} & set(packed)
    for name, (_, source) in packed.items():
        module = importlib.import_module(name)
        ours = ast.parse(inspect.getsource(module))
        assert ast.dump(absolute(source, name, hasattr(module, "__path__"))) == ast.dump(ours), name


def test_the_file_needs_the_standard_library_torch_and_safetensors_alone(packed):
    sources = [modeling_text(), *(source for _, source in packed.values())]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"torch", "safetensors"}


def test_two_classes_of_one_name_stay_apart(modeling):
    name = modeling.__name__
    record, layer = (sys.modules[f"{name}.models.{place}"].Residual for place in ("kinds.containers", "layers"))
    assert issubclass(layer, nn.Module)
    assert not issubclass(record, nn.Module)
    assert layer is not layers.Residual
    assert sys.modules[f"{name}.models.build"].BUILDERS.keys().isdisjoint(build.BUILDERS)


def test_an_error_in_a_layer_shows_its_line_in_the_file(modeling, tmp_path):
    blueprint = small()
    model = modeling.load_model(*write(tmp_path, blueprint, build.build(blueprint)))
    with pytest.raises(ValueError, match="more than 1 value per channel") as raised:
        model.train()(torch.zeros(1, 6))
    frames = [frame for frame in traceback.extract_tb(raised.tb) if frame.filename == modeling.__file__]
    assert frames[-1].name == "normalize_batch"
    assert frames[-1].line.startswith("return F.batch_norm(x, self.batch_mean")
    assert linecache.getline(modeling.__file__, frames[-1].lineno).strip() == frames[-1].line
    assert inspect.getsource(model.norm1.normalize_batch) == inspect.getsource(
        build.build(blueprint).norm1.normalize_batch
    )


def test_a_loaded_network_can_be_pickled(modeling, tmp_path):
    blueprint = small()
    model = modeling.load_model(*write(tmp_path, blueprint, build.build(blueprint)))
    x = torch.randn(4, 6)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


def test_training_on_does_to_the_state_what_torchs_own_layers_do(modeling, tmp_path):
    torch.manual_seed(2)
    blueprint = small(momentum=0.3)
    ours = modeling.load_model(*write(tmp_path, blueprint, build.build(blueprint))).train()
    stock = nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            linear1=nn.Linear(6, 5, bias=False),
            norm1=nn.BatchNorm1d(5, momentum=0.3),
            activation1=nn.ReLU(),
            linear2=nn.Linear(5, 4, bias=False),
            norm2=nn.BatchNorm1d(4, momentum=0.3),
            activation2=nn.ReLU(),
            output=nn.Linear(4, 3),
        )
    )
    stock.load_state_dict(ours.state_dict())
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in (ours, stock)]
    for _ in range(3):
        x, targets = torch.randn(7, 6), torch.randint(3, (7,))
        for model, optimizer in zip((ours, stock), optimizers, strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), targets).backward()
            optimizer.step()
    assert int(ours.norm1.num_batches_tracked) == 3
    torch.testing.assert_close(dict(ours.state_dict()), dict(stock.state_dict()))


def test_a_schedule_of_a_norm_goes_on_where_training_ended(modeling, tmp_path):
    ramps = {"r_begin": 10, "r_end": 30, "d_begin": 10, "d_end": 30}
    blueprint = small("batch_renorm", r_max=3.0, d_max=5.0, **ramps)
    trained = build.build(blueprint)
    trained.norm1.num_batches_tracked.fill_(20)
    model = modeling.load_model(*write(tmp_path, blueprint, trained))
    assert model.norm1.limits() == (2.0, 2.5)
    assert model.norm2.limits() == (1.0, 0.0)


def test_loading_draws_no_weights_by_the_scheme_of_the_training(modeling, tmp_path, monkeypatch):
    blueprint = small(init=Init(name=InitName.ORTHOGONAL))
    paths = write(tmp_path, blueprint, build.build(blueprint))

    def forbidden(*_):
        raise AssertionError("drawn")

    schemes = sys.modules[f"{modeling.__name__}.models.init"].SCHEMES
    monkeypatch.setitem(schemes, InitName.ORTHOGONAL, forbidden)
    assert modeling.load_model(*paths).output.weight.shape == (3, 4)


@pytest.mark.parametrize(
    "changes", [{"format": "other"}, {"version": 2}, {"format": None, "version": None}], ids=str
)
def test_a_config_of_another_format_or_version_is_refused(modeling, tmp_path, changes):
    blueprint = small()
    paths = write(tmp_path, blueprint, build.build(blueprint), **changes)
    with pytest.raises(ValueError, match=r"config\.json has .* this modeling\.py reads .*normlab-blueprint"):
        modeling.load_model(*paths)


def test_weights_of_another_network_are_refused(modeling, tmp_path):
    with pytest.raises(RuntimeError, match=r"Missing key.*norm1\.running_mean"):
        modeling.load_model(*write(tmp_path, small(), build.build(small("none"))))


PACKAGE = """
from typing import Literal

from db.spec.norms.base import PlacedNorm
from models.catalog.records import NormInfo, NormPlugin

class Halve(PlacedNorm):
    name: Literal["halve"]
    by: float = 2.0

INFO = NormInfo(name="halve", summary="", formula="y = x / 2", reference="", eval_mode="the same")
PLUGIN = NormPlugin(info=INFO, spec=Halve, layer="halving_layer:Halve", architectures=("mlp",))
"""
LAYER = """
from models.norms.base import RunningNorm

class Halve(RunningNorm):
    MOMENTS = ("mean",)

    def __init__(self, features, *, by):
        super().__init__(features, momentum=0.5, eps=0.0, affine=False)
        self.by = by

    def normalize_batch(self, x):
        self.batch_mean.copy_(x.detach().mean(0))
        return x / self.by

    def normalize_stored(self, x):
        return x / self.by
"""
#: In a process with normlab and the package: writes an export.
EXPORT = """
import sys
import torch
from models.build import build
from safetensors.torch import save_file
from tests.worker.support import small_spec
from worker import export

spec = small_spec(norm={"name": "halve", "by": 4.0}, architecture={"name": "mlp", "hidden": [5]})
model = build(spec.blueprint()).eval()
inputs = torch.randn(3, *spec.dataset.info.shape)
open(sys.argv[1] + "/config.json", "wb").write(export.config_bytes(spec))
save_file(model.state_dict(), sys.argv[1] + "/model.safetensors")
save_file({"inputs": inputs, "outputs": model(inputs).detach()}, sys.argv[1] + "/samples.safetensors")
"""
#: Then, in one without: the package is not there at first.
LOAD = """
import json
import torch
from modeling import load_model
from safetensors.torch import load_file

try:
    load_model()
except ImportError as error:
    message = str(error)
sys.path.append("site")
model, samples = load_model(), load_file("samples.safetensors")
same = torch.equal(model(samples["inputs"]), samples["outputs"])
model.train()(samples["inputs"])
print(json.dumps({"message": message, "same": same, "updates": int(model.norm1.num_batches_tracked)}))
"""


def test_a_norm_of_a_package_is_named_where_it_is_missing_and_loaded_where_it_is_installed(tmp_path):
    site = write_package(tmp_path / "site", "halving", PACKAGE, {"normlab.norms": {"halve": "halving:PLUGIN"}})
    (site / "halving_layer.py").write_text(LAYER)
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", EXPORT, tmp_path], env=environment, cwd=ROOT, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["installed_norms"] == {"halve": "halving_layer:Halve"}
    found = run_isolated(tmp_path, LOAD)
    assert found["message"] == (
        "The norm 'halve' of this network is not in modeling.py: its layer is 'halving_layer:Halve' of another "
        "package, which must be installed here too."
    )
    assert (found["same"], found["updates"]) == (True, 1)
