"""What a checkpoint becomes outside normlab: `model.safetensors`, and the `config.json` that rebuilds it."""

import io
import json
from typing import Any

import torch
from safetensors.torch import save

from db.spec.job import JobSpec
from models.blueprint import to_json
from worker.trainer import Snapshot

CONFIG_FORMAT = "normlab-blueprint"
CONFIG_VERSION = 1


def config(spec: JobSpec) -> dict[str, Any]:
    """The network and how its inputs are prepared; free of job ids, so that equal models have equal files."""
    info = spec.dataset.info
    return {
        "format": CONFIG_FORMAT,
        "version": CONFIG_VERSION,
        "task": spec.task,
        "classes": info.classes,
        "input": {
            "shape": list(info.shape),
            "largest_value": info.largest_value,
            # Raw values of at least this become 1, others 0; null where they are divided by largest_value.
            "threshold": info.threshold if spec.dataset.binarize else None,
        },
        "network": to_json(spec.blueprint()),
    }


def config_bytes(spec: JobSpec) -> bytes:
    """`config.json`."""
    return (json.dumps(config(spec), indent=2) + "\n").encode()


def model_bytes(snapshot: Snapshot) -> bytes:
    """`model.safetensors`: parameters and running statistics by torch's names."""
    return save({name: tensor.contiguous() for name, tensor in snapshot.weights.items()})


def state_bytes(snapshot: Snapshot) -> bytes:
    """What going on needs besides the weights; tensors and plain values only, for `weights_only` loading."""
    buffer = io.BytesIO()
    state = {"step": snapshot.step, "optimizer": snapshot.optimizer, "rng": snapshot.rng}
    torch.save(state, buffer)
    return buffer.getvalue()
