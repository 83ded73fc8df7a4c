"""A network that was trained with normlab, in torch alone: needs torch, safetensors and Python 3.11 or newer.

    from modeling import load_model

    model = load_model("config.json", "model.safetensors")

`modeling.py` is the same file for every network. Below `load_model` it holds the code of normlab's layers, one
source file after the other; each becomes a module inside this one, and errors show the lines of this file.
"""

import json
import sys
from dataclasses import replace
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from os import PathLike
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from models.blueprint import Init, from_json
from models.build import build
from models.norms.table import NORM_LAYERS

CONFIG_FORMAT = "normlab-blueprint"
CONFIG_VERSION = 1


def load_model(
    config_path: str | PathLike[str] = "config.json", weights_path: str | PathLike[str] = "model.safetensors"
) -> nn.Module:
    """The network with its trained weights, on the CPU and in eval mode.

    After `train()` its running averages move with each forward pass, as those of torch's own layers do.

    Raises:
        ValueError: the config is none that this file knows.
        ImportError: a norm of the network belongs to a package that is not installed here.
        RuntimeError: the weights are those of another network.
    """
    with open(config_path, encoding="utf-8") as file:
        config = json.load(file)
    known = {"format": CONFIG_FORMAT, "version": CONFIG_VERSION}
    given = {key: config.get(key) for key in known}
    if given != known:
        raise ValueError(f"{config_path} has {given}; this modeling.py reads {known}.")
    for name, layer in config["installed_norms"].items():
        NORM_LAYERS[name] = _import_layer(name, layer)
    # These weights are thrown away: no slow scheme for them, and the caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        model = build(replace(from_json(config["network"]), init=Init()))
    model.load_state_dict(load_file(weights_path))
    for module in model.modules():
        _let_averages_move(module)
    return model.eval()


def _import_layer(name: str, layer: str) -> Any:
    module, _, attribute = layer.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"The norm {name!r} of this network is not in modeling.py: its layer is {layer!r} of another package, "
            "which must be installed here too."
        ) from error


def _let_averages_move(module: Any) -> None:
    # By what it has, not by its class: a norm of another package has classes of its own.
    if hasattr(module, "moves_itself"):
        module.moves_itself = True


_MODULES: dict[str, ModuleType] = {}


def _module(name: str, line: int, source: str, *, package: bool = False) -> None:
    """Make a module inside this one of a source that begins at `line` of this file."""
    module = module_from_spec(ModuleSpec(f"{__name__}.{name}", None, is_package=package))
    module.__file__ = __file__
    _MODULES[name] = sys.modules[module.__name__] = module
    # So many empty lines before it that its lines have the numbers that they have here.
    exec(compile("\n" * (line - 1) + source, __file__, "exec", dont_inherit=True), vars(module))
