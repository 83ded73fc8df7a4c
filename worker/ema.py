"""Averaged weights: a second model beside the one that is trained."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Ema:
    """An exponential moving average of a model's parameters and, with `use_buffers`, of its running statistics.

    Begins as the weights after the first step. Polyak & Juditsky 1992; torch.optim.swa_utils.AveragedModel.
    """

    def __init__(self, model: nn.Module, *, decay: float, use_buffers: bool) -> None:
        self._averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=use_buffers)

    @property
    def model(self) -> nn.Module:
        """The averaged model."""
        module: nn.Module = self._averaged.module
        return module

    def update(self, model: nn.Module) -> None:
        """Take in the weights after one more step."""
        self._averaged.update_parameters(model)
