"""Where a job runs, and what it ran on."""

import platform
from typing import Any

import torch

from worker.errors import DeviceUnavailable


def choose_device(wanted: str) -> torch.device:
    """`cpu`, `cuda`, or for `auto` a GPU where there is one.

    Raises:
        DeviceUnavailable: the machine has no such device.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "cuda":
        raise DeviceUnavailable(wanted)
    return torch.device("cpu")


def describe(device: torch.device) -> dict[str, Any]:
    """What the job ran on, for its `environment`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "precision": "float32",
    }
