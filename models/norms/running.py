"""The running averages of all norms of a model, moved and copied together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

from models.norms.base import RunningNorm


@dataclass(kw_only=True)
class _Group:
    """Norms that move alike: one class, one momentum. `batch` and `running` are their parts of the whole."""

    norms: list[RunningNorm]
    batch: Tensor
    running: Tensor
    seen: int

    def tell(self) -> None:
        """Let norms with a schedule know how far it is."""
        if self.norms[0].follows_updates:
            for norm in self.norms:
                norm.seen = self.seen


class RunningAverages:
    """The moments of every norm of a model that keeps any.

    The buffers of all layers become views of two tensors, so that a step costs two small operations however many
    layers there are: running = (1 - momentum) * running + momentum * batch, which is `torch.nn.BatchNorm1d`'s own
    rule and rounding. Make it when the model is on its device.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        found = [module for module in modules if isinstance(module, RunningNorm)]
        self.norms = sorted(found, key=_group_key)  # layers that move alike lie together
        self._joined = _join_buffers(self.norms)
        self._places: dict[RunningNorm, dict[str, slice]] = {}
        end = 0
        for norm in self.norms:
            self._places[norm] = {}
            for moment, batch, _ in norm.running():
                self._places[norm][moment] = slice(end, end + batch.numel())
                end += batch.numel()
        self._groups = list(self._make_groups())
        self.frozen = False

    def _make_groups(self) -> Iterator[_Group]:
        for _, same in groupby(self.norms, key=_group_key):
            norms = list(same)
            first, last = (list(self._places[norm].values()) for norm in (norms[0], norms[-1]))
            batch, running = (joined[first[0].start : last[-1].stop] for joined in self._joined)
            group = _Group(norms=norms, batch=batch, running=running, seen=int(norms[0].num_batches_tracked))
            group.tell()
            yield group

    def clear(self) -> None:
        """Forget the latest batch; call before each one.

        The kernel adds 0 times what the scratch buffers hold: what is not finite there would never leave them.
        """
        self._joined[0].zero_()

    def update(self) -> None:
        """Take the moments of the latest batch into the running averages; frozen ones stay."""
        if self.frozen:
            return
        for group in self._groups:
            norm = group.norms[0]
            newest = norm.newest_weight(group.seen)
            # Not a lerp: with a small momentum its rounding leaves torch's own averages by 4e-6 in float32.
            group.running.mul_(1 - newest).add_(group.batch, alpha=newest)
            # Counted here, not on the device: one addition a step in place of one a layer.
            group.seen += norm.updates()
            group.tell()

    def freeze(self) -> None:
        """Train mode normalizes by the running averages from now on; these, scales and shifts stay as they are.

        Wu & Johnson 2021 (arXiv 2105.07576) freeze the statistics for the last epochs. `copy` goes on to hold the
        moments of the latest batch.
        """
        self.frozen = True
        for norm in self.norms:
            norm.freeze()

    def settle(self) -> None:
        """Write the count of updates into the buffers; call before the state is read."""
        for group in self._groups:
            for norm in group.norms:
                norm.num_batches_tracked.fill_(group.seen)
                norm.seen = group.seen

    def reload(self) -> None:
        """Go on from the buffers; call after a state has been loaded into the model."""
        for group in self._groups:
            group.seen = int(group.norms[0].num_batches_tracked)
            group.tell()

    def copy(self) -> Tensor:
        """The moments of all norms as they are now, for `of`: (2, values), of the latest batch and running."""
        return torch.stack(self._joined)

    def of(self, norm: RunningNorm, copies: Tensor) -> dict[str, Tensor]:
        """One norm's part of some copies. copies: (rows, 2, values).

        Returns `train.<moment>` of the batch, as its scratch buffers have it (a variance is the unbiased one),
        and `eval.<moment>` as stored: (rows, values of the moment) each.
        """
        places = self._places[norm]
        return {
            f"{mode}.{moment}": copies[:, row, place]
            for row, mode in enumerate(("train", "eval"))
            for moment, place in places.items()
        }


def _group_key(norm: RunningNorm) -> tuple[str, float]:
    # Several momenta of None would not sort; no momentum is negative.
    return type(norm).__name__, -1.0 if norm.momentum is None else norm.momentum


def _join_buffers(norms: list[RunningNorm]) -> list[Tensor]:
    """Two tensors that hold the moments of all norms, of the latest batch and running: (values) each.

    The buffers become views of them. In one tensor the moments of a batch would count as a change of the running
    ones, which the backward pass of frozen norms reads again.
    """
    if not norms:
        return [torch.empty(0), torch.empty(0)]
    pairs = [(batch, running) for norm in norms for _, batch, running in norm.running()]
    joined = [torch.cat([pair[row].flatten() for pair in pairs]) for row in range(2)]
    end = 0
    for norm in norms:
        for moment, batch, _ in list(norm.running()):
            begin, end = end, end + batch.numel()
            for whole, name in zip(joined, ("batch", "running"), strict=True):
                setattr(norm, f"{name}_{moment}", whole[begin:end].view(batch.shape))
    return joined
