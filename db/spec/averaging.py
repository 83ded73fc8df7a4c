"""Averages of a job's weights."""

from typing import Annotated

from pydantic import Field

from db.spec.base import Flag, Part


class Ema(Part):
    """An exponential moving average of the weights: a second model, evaluated and saved beside the first."""

    decay: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.999
    """Weight of the average so far; each step's weights come in with one minus it."""
    use_buffers: Flag = True
    """Average the running statistics too. Without, they are those of the model that is trained, whose weights are
    others (torch.optim.swa_utils.AveragedModel's default)."""
