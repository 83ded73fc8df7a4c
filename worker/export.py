"""What a checkpoint becomes outside normlab: `model.safetensors`, `config.json`, and the code that reads them."""

import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from db.spec.job import JobSpec
from models.blueprint import Blueprint, to_json
from models.catalog.registry import norm_plugins
from models.shapes import sites
from worker.loader import CONFIG_FORMAT, CONFIG_VERSION
from worker.modeling import modeling_text
from worker.snapshot import Snapshot


def config(spec: JobSpec) -> dict[str, Any]:
    """The network and how its inputs are prepared; free of job ids, so that equal models have equal files."""
    info, blueprint = spec.dataset.info, spec.blueprint()
    return {
        "format": CONFIG_FORMAT,
        "version": CONFIG_VERSION,
        "task": info.task,
        # Classes, or numbers to predict.
        "outputs": info.outputs,
        "input": {
            "shape": list(info.shape),
            # What pixels are divided by; null where inputs are any numbers, taken as they are.
            "largest_value": info.largest_value,
            # Raw values of at least this become 1, others 0; null where they are divided by largest_value.
            "threshold": info.threshold if spec.dataset.binarize else None,
            # Subtracted from the quotients, and what those are then divided by; null where they stay as they are.
            "mean": list(info.mean) if spec.dataset.standardize else None,
            "std": list(info.std) if spec.dataset.standardize else None,
        },
        "network": to_json(blueprint),
        "installed_norms": _installed_norms(blueprint),
    }


def _installed_norms(blueprint: Blueprint) -> dict[str, str]:
    """Norms whose layers are in no file of an export: where the packages have them, as `module:name`."""
    plugins = norm_plugins()
    return {name: plugins[name].layer for name in sorted({site.norm for site in sites(blueprint)} & set(plugins))}


def config_bytes(spec: JobSpec) -> bytes:
    """`config.json`."""
    return (json.dumps(config(spec), indent=2) + "\n").encode()


def modeling_bytes() -> bytes:
    """`modeling.py`, the same for every network."""
    return modeling_text().encode()


def model_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """`model.safetensors`: parameters and running statistics by torch's names."""
    return save({name: tensor.contiguous() for name, tensor in weights.items()})


def state_bytes(snapshot: Snapshot) -> bytes:
    """What going on needs besides the weights; tensors and plain values only, for `weights_only` loading."""
    buffer = io.BytesIO()
    torch.save(snapshot.state, buffer)
    return buffer.getvalue()
