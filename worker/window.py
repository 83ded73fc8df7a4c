"""What the last batches before a recorded step say of the running averages, and of the noise in a batch.

The moments of these batches are kept on the device, a small copy for each; here they are on the host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.norms.base import RunningNorm
from worker.drift import drift, ratio

#: Batches of the window that ends with a recorded step.
WINDOW = 16


@dataclass(frozen=True, kw_only=True)
class BatchMoments:
    """Moments of consecutive batches of one norm, in float64 and on the host.

    A batch may be normalized in parts. means, variances: (parts, C), the variances biased; values: (parts), how
    many of each channel a part had; parts: how many each batch has.
    """

    means: Tensor
    variances: Tensor
    values: Tensor
    parts: Sequence[int]

    def normalized_by(self) -> dict[str, Tensor]:
        """Mean over the parts of each batch, by their values: `mean` and `var`, (batches, C)."""
        shares = self.values[:, None] / self._by_batch(self.values[:, None]).repeat_interleave(self._counts(), 0)
        return {"mean": self._by_batch(shares * self.means), "var": self._by_batch(shares * self.variances)}

    def population(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and biased variance of the window that ends with each batch, and its values: (batches, C or 1).

        mean = E[mean_B], var = E[mean_B^2 + var_B] - mean^2, weighted by values (Wu & Johnson 2021,
        arXiv 2105.07576).
        """
        values = self.values[:, None]
        total = window_sums(self._by_batch(values), WINDOW)
        mean = window_sums(self._by_batch(values * self.means), WINDOW) / total
        square = window_sums(self._by_batch(values * (self.means.square() + self.variances)), WINDOW) / total
        return mean, (square - mean.square()).clamp_min(0), total

    def variance_of_means(self) -> Tensor:
        """Of the means of the parts in the window that ends with each batch: (batches, C); NaN if there is one.

        Half the mean square of successive differences (von Neumann 1941, Annals of Mathematical Statistics 12,
        367), which weights that move in the meantime hardly change.
        """
        squares = self.means.diff(dim=0, prepend=self.means[:1]).square()
        counts = torch.ones(len(squares), 1, dtype=squares.dtype)
        # A batch's first difference is from the batch before, which for the window's first lies outside.
        first = torch.zeros(len(squares), 1, dtype=torch.bool)
        first[self._counts().cumsum(0) - self._counts()] = True
        counts[0] = 0
        sums, found = (self._within_windows(each, first) for each in (squares, counts))
        return sums / found / 2

    def _within_windows(self, differences: Tensor, first: Tensor) -> Tensor:
        """Sums of what does not reach beyond the window. first: (parts, 1), if a part is its batch's first."""
        zero = differences.new_zeros(())
        total = window_sums(self._by_batch(differences.where(first, zero)), WINDOW - 1)
        if len(first) == len(self.parts):
            return total
        return total + window_sums(self._by_batch(differences.where(~first, zero)), WINDOW)

    def _counts(self) -> Tensor:
        return torch.tensor(self.parts)

    def _by_batch(self, of_parts: Tensor) -> Tensor:
        """Sums over the parts of each batch: (batches, ...)."""
        if len(of_parts) == len(self.parts):
            return of_parts
        batches = torch.arange(len(self.parts)).repeat_interleave(self._counts())
        return of_parts.new_zeros(len(self.parts), *of_parts.shape[1:]).index_add_(0, batches, of_parts)


def window_sums(rows: Tensor, width: int) -> Tensor:
    """The sum of each row and the up to `width` - 1 rows before it.

    Sums of 2, 4, 8 rows and so on are made of one another. A difference of sums from the beginning would be
    cheaper, and spoil all later windows by one value that is not finite.
    """
    total, reached = torch.zeros_like(rows), 0
    power, span = rows, 1
    while reached < width:
        if width & span:
            total[reached:] += power[: max(0, len(rows) - reached)]
            reached += span
        longer = power.clone()
        longer[span:] += power[:-span]
        power, span = longer, 2 * span
    return total


def drift_and_noise(
    norm: RunningNorm, batches: BatchMoments, stored: Mapping[str, Tensor], rows: Sequence[int]
) -> dict[str, Tensor]:
    """Columns of a norm at some of the batches: (rows, C) each.

    `stored` are its running averages there. The population is that of the window; the variance of one is compared
    as it is stored, and without a variance nothing can be said. `noise.mean` is the standard deviation of the
    mean of a batch (of each part of it that is normalized by itself) over the population's.
    """
    var_stored = norm.variance(stored)
    if var_stored is None:
        return {}
    mean, var, values = (each[rows] for each in batches.population())
    if is_unbiased(norm):
        var = var / ((values - 1) / values)
    found = drift(stored.get("mean"), var_stored, mean, var)
    noise = ratio(batches.variance_of_means()[rows].sqrt(), var.sqrt())
    return found | {"noise.mean": noise, "noise.effective_batch": noise.square().reciprocal()}


def biased(values: Tensor) -> Tensor:
    """What makes unbiased variances of so many values biased: (batches, 1)."""
    return ((values - 1) / values)[:, None]


def is_unbiased(norm: RunningNorm) -> bool:
    """Whether the variance that eval mode stores is the unbiased one, as torch has it."""
    return "var" in norm.MOMENTS


def batches_of(norm: RunningNorm, moments: Mapping[str, Tensor], values: Tensor) -> BatchMoments | None:
    """Batches of which the scratch buffers held `moments`, (batches, C) each; none if these tell no variance."""
    var = norm.variance(moments)
    if var is None or "mean" not in moments:
        return None
    if is_unbiased(norm):
        var = var * biased(values)
    return BatchMoments(means=moments["mean"], variances=var, values=values, parts=[1] * len(values))


def batches_in_parts(found: Sequence[tuple[Sequence[int], Tensor]]) -> BatchMoments:
    """Batches as `RunningNorm.latest_batches` gives them."""
    values = torch.tensor([count for counts, _ in found for count in counts], dtype=torch.float64)
    means, unbiased = torch.cat([moments for _, moments in found], dim=1).cpu().double()
    return BatchMoments(
        means=means,
        variances=unbiased * biased(values),
        values=values,
        parts=[len(counts) for counts, _ in found],
    )
