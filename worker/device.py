"""Where a job runs, and what it ran on."""

import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

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


def in_precision(model: nn.Module, precision: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The model's forward pass under autocast to `precision`; its outputs are float32."""
    if precision == "float32":
        return model
    dtype: torch.dtype = getattr(torch, precision)

    def forward(inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype):
            outputs: Tensor = model(inputs)
        return outputs.float()

    return forward


def describe(device: torch.device, precision: str) -> dict[str, Any]:
    """What the job ran on, for its `environment`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "precision": precision,
    }
