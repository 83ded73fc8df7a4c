"""Parametrizations of the weights of linear layers and convolutions."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from models.catalog.names import NormName
from models.kinds.layers import Parametrization


class Standardized(nn.Module):
    """Each filter's weights by their own mean and standard deviation. weight: (outputs, *).

    Qiao et al. 2019 (arXiv 1903.10520), equation 7, with eps inside the root.
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


def parametrize_weight(layer: nn.Module, parametrization: Parametrization) -> None:
    """Compute the layer's weight from other parameters from now on; call after they have been initialized."""
    options = dict(parametrization.options)
    match parametrization.norm:
        case NormName.WEIGHT:
            parametrizations.weight_norm(layer)
        case NormName.SPECTRAL:
            parametrizations.spectral_norm(layer, **options)  # type: ignore[arg-type]  # the spec has the types
        case NormName.WEIGHT_STANDARDIZATION:
            parametrize.register_parametrization(layer, "weight", Standardized(float(options["eps"] or 0)))
        case name:
            raise KeyError(name)
