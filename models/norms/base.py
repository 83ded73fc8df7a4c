"""What every normalization layer is, and what those are that keep running averages."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel over batch and positions. x: (N, C) or (N, C, *)."""
    but_channels = [0, *range(2, x.dim())]
    var, mean = torch.var_mean(x, dim=but_channels, correction=0)
    return mean, var


def widened(x: Tensor) -> Tensor:
    """In float32 if it is narrower: moments of half precision are useless."""
    return x.float() if x.dtype.itemsize < 4 else x


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """(C,) shaped so that it goes with x: (N, C, *)."""
    return values.view(-1, *[1] * (x.dim() - 2))


class Normalization(nn.Module):
    """A layer at a site. x: (N, C) or (N, C, *).

    Its parameters are exempt from weight decay, and a recorded step asks it for its moments.
    """

    #: In train mode a sample's output depends on the other samples of its batch.
    uses_batch: ClassVar[bool] = False

    def own_moments(self, x: Tensor) -> dict[str, Tensor]:
        """What train mode normalizes `x` by, each the mean over the samples where it is a sample's own.

        Here the moments of each channel in the batch, which are all that a layer without moments can show.
        """
        mean, var = channel_moments(widened(x))
        return {"mean": mean, "var": var}

    def stored_moments(self) -> Mapping[str, Tensor]:
        """What eval mode normalizes by, where that differs from train mode."""
        return {}


class Identity(Normalization):
    """A site without a norm; it keeps its place so that the same records are kept."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class AffineNorm(Normalization):
    """A norm with a scale that begins at 1 and a shift that begins at 0 for each channel."""

    def __init__(self, features: int, *, affine: bool = True) -> None:
        super().__init__()
        self.features = features
        self.weight = nn.Parameter(torch.ones(features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if affine else None

    def scaled(self, x: Tensor) -> Tensor:
        """Weight * x + bias, channel by channel. x: (N, C, *)."""
        if self.weight is not None:
            x = x * per_channel(self.weight, x)
        return x if self.bias is None else x + per_channel(self.bias, x)

    def affine_as(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Weight and bias in the number type of x, for kernels that want all of one type."""
        return (
            None if self.weight is None else self.weight.to(x.dtype),
            None if self.bias is None else self.bias.to(x.dtype),
        )


class RunningNorm(AffineNorm):
    """A norm that uses moments of the mini-batch in train mode and running averages of them in eval mode.

    A subclass names its moments and writes `normalize_batch`, which leaves those of the batch in the scratch
    buffers `batch_...`, and `normalize_stored`, which uses the buffers `running_...`. The running averages move
    only in `RunningAverages.update`, which the training loop calls once after each batch: a forward pass in
    train mode (an evaluation with batch statistics, say) leaves them alone. A class with `moves_itself` moves
    them in its forward pass, as torch's own layers do.
    """

    uses_batch = True
    MOMENTS: ClassVar[tuple[str, ...]] = ("mean", "var")
    moves_itself: ClassVar[bool] = False
    #: Whether `seen` must be right at every forward pass in train mode, for a schedule.
    follows_updates: ClassVar[bool] = False

    #: Whether train mode adds the noise that a norm may have of its own; off where batch statistics are measured.
    noise: bool = True
    #: Whether train mode corrects towards the running averages, in a norm that does; off where what should take
    #: their place is estimated.
    corrects: bool = True
    #: Whether train mode normalizes by the running averages too; what `freeze` sets.
    frozen: bool = False

    num_batches_tracked: Tensor
    #: What `seen` says; None between the load of a state and the next question.
    _seen: int | None = 0

    def __init__(
        self, features: int, *, momentum: float | None, eps: float, affine: bool, steps: int | None = None
    ) -> None:
        super().__init__(features, affine=affine)
        self.momentum = momentum
        self.eps = eps
        shape = (features,) if steps is None else (steps, features)
        for moment in self.MOMENTS:
            begin = torch.zeros(shape) if moment == "mean" else torch.ones(shape)
            self.register_buffer(f"running_{moment}", begin)
            self.register_buffer(f"batch_{moment}", begin.clone(), persistent=False)
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    @property
    def seen(self) -> int:
        """Batches that have gone into the running averages; asks the device only after a state has been loaded."""
        if self._seen is None:
            self._seen = int(self.num_batches_tracked)
        return self._seen

    @seen.setter
    def seen(self, batches: int) -> None:
        self._seen = batches

    @property
    def by_batch(self) -> bool:
        """Whether a forward pass now normalizes by the mini-batch."""
        return self.training and not self.frozen

    def freeze(self) -> None:
        """From now on train mode normalizes by the running averages, and no parameter of the norm has a gradient.

        Optimizers pass over what has no gradient: no momentum moves it and no weight decay. The scratch buffers
        still get the moments of each batch in train mode.
        """
        self.frozen = True
        for parameter in self.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.by_batch:
            if self.training:
                self.look(x)
            return self.normalize_stored(x)
        y = self.normalize_batch(x)
        if self.moves_itself:
            self._move()
        return y

    def normalize_batch(self, x: Tensor) -> Tensor:
        """Train mode; fills the scratch buffers."""
        raise NotImplementedError

    def normalize_stored(self, x: Tensor) -> Tensor:
        """Eval mode."""
        raise NotImplementedError

    @torch.no_grad()
    def look(self, x: Tensor) -> None:
        """Fill the scratch buffers with the moments of a batch, whatever mode this is in."""
        self.normalize_batch(x)

    def running(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Each moment: its name, the scratch buffer, the running buffer."""
        for moment in self.MOMENTS:
            yield moment, self.get_buffer(f"batch_{moment}"), self.get_buffer(f"running_{moment}")

    def stored_moments(self) -> Mapping[str, Tensor]:
        return {moment: running for moment, _, running in self.running()}

    def updates(self) -> int:
        """How many batches the latest one counts for in the running averages."""
        return 1

    def newest_weight(self, seen: int) -> float:
        """Weight of the latest batch in the running averages; `seen` batches have gone into them before."""
        return 1 / (seen + 1) if self.momentum is None else self.momentum

    def latest_batches(self, values: int) -> tuple[list[int], Tensor] | None:
        """What train mode normalized by itself of the latest batch, where the scratch buffers do not say it.

        Values of a channel in each part, and their means and unbiased variances: (2, parts, C). `values` is how
        many the whole batch had.
        """
        return None

    def variance(self, moments: Mapping[str, Tensor]) -> Tensor | None:
        """The variance of the inputs that moments as eval mode stores them tell; none where they tell none."""
        return moments.get("var")

    def raw_moments(self, values: int) -> Tensor:
        """Moments of the latest batch whose mean, weighted by values, is the population's: (k, ...) in float64.

        `values` is how many values of each channel the batch had.
        """
        mean, unbiased = self.get_buffer("batch_mean").double(), self.get_buffer("batch_var").double()
        return torch.stack((mean, mean.square() + unbiased * ((values - 1) / values)))

    def population(self, raw: Tensor, values: int) -> dict[str, Tensor]:
        """What eval mode would store if it knew the means of `raw_moments` over all `values` values."""
        mean, square = raw
        # Unbiased, as the running variance is.
        return {"mean": mean, "var": (square - mean.square()).clamp_min(0) * (values / (values - 1))}

    def _move(self, rows: int | None = None) -> None:
        """Take the latest batch into the running averages, in a cell into those of the first `rows` time steps."""
        newest, updates = self.newest_weight(self.seen), self.updates()
        with torch.no_grad():
            for _, batch, running in self.running():
                running[:rows].mul_(1 - newest).add_(batch[:rows], alpha=newest)
            self.num_batches_tracked += updates
        self.seen += updates

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._seen = None

    def extra_repr(self) -> str:
        return f"{self.features}, momentum={self.momentum}, eps={self.eps}, affine={self.weight is not None}"
