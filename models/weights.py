"""Parametrizations of the weights of linear layers and convolutions."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from models.catalog.names import NormName
from models.kinds.layers import Parametrization


class Standardized(nn.Module):
    """Each filter's weights by their own mean and standard deviation. weight: (outputs, *).

    Qiao et al. 2019 (arXiv 1903.10520), with eps inside the root.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, weight: Tensor) -> Tensor:
        filters = weight.flatten(1)
        var, mean = torch.var_mean(filters, dim=1, correction=0, keepdim=True)
        return ((filters - mean) * (var + self.eps).rsqrt()).view_as(weight)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


class SpectralNorm(parametrizations._SpectralNorm):
    """Weights by an estimate of their largest singular value. weight: (outputs, *).

    Miyato et al. 2018 (arXiv 1802.05957), algorithm 1: torch's own, but in the type of the weights under autocast
    too, which on CUDA would take its products of matrix and vector in half precision.
    """

    def forward(self, weight: Tensor) -> Tensor:
        with _autocast_off(weight.device.type):
            normalized: Tensor = super().forward(weight)
            return normalized


def _autocast_off(device_type: str) -> AbstractContextManager[object]:
    # Where there is no autocast (a network of shapes alone, on "meta"), torch refuses to turn it off.
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def parametrize_weight(layer: nn.Module, parametrization: Parametrization) -> None:
    """Compute the layer's weight from other parameters from now on; call after they have been initialized."""
    options: dict[str, Any] = dict(parametrization.options)
    match parametrization.norm:
        case NormName.WEIGHT:
            parametrizations.weight_norm(layer)
        case NormName.SPECTRAL:
            spectral = SpectralNorm(layer.get_parameter("weight"), **options)
            parametrize.register_parametrization(layer, "weight", spectral)
        case NormName.WEIGHT_STANDARDIZATION:
            parametrize.register_parametrization(layer, "weight", Standardized(**options))
        case name:
            raise KeyError(name)
