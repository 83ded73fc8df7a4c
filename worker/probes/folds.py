"""Where a network folds its input space: the units whose ReLU turns from 0 to linear."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from models.norms.base import Identity, Normalization, RunningNorm
from models.norms.batch import FrozenBatchNorm, StepBatchNorm


@dataclass(frozen=True, kw_only=True)
class Fold:
    """A linear layer or convolution, the norm after it if there is one, and the ReLU after that.

    Unit k folds the space of the layer's inputs z along the hyperplane where the ReLU's input is 0, which in eval
    mode is slope_k * <w_k, z> plus a number. `name` is the norm's, which is its site's, or the layer's.
    """

    name: str
    layer: nn.Linear | nn.Conv2d
    norm: Normalization | None
    relu: nn.ReLU

    @property
    def jitters(self) -> bool:
        """Whether the hyperplanes move with the batch in train mode."""
        return self.norm is not None and self.norm.uses_batch

    def lengths(self) -> Tensor:
        """||w_k|| of each unit, of a convolution that of its kernel: (C,)."""
        lengths: Tensor = torch.linalg.vector_norm(self.layer.weight.detach().flatten(1), dim=1)
        return lengths

    def slopes(self) -> Tensor:
        """What eval mode multiplies each channel by, gamma_k / sigma_k in batch norm: (C,)."""
        if self.norm is None:
            return torch.ones_like(self.lengths())
        normalize = self.norm.normalize_stored if isinstance(self.norm, RunningNorm) else self.norm
        with torch.enable_grad():
            x = torch.zeros_like(self.lengths()).unsqueeze(0).requires_grad_()
            (found,) = torch.autograd.grad(normalize(x).sum(), x)
        return found[0]

    def channels_first(self, x: Tensor) -> Tensor:
        """(N, C, *); a linear layer over tokens has its channels last."""
        return x.movedim(-1, 1) if isinstance(self.layer, nn.Linear) else x


#: Takes a fold, its layer's output and its ReLU's input: (N, C, *) each.
Take = Callable[[Fold, Tensor, Tensor], None]


def folds(model: nn.Module) -> Iterator[Fold]:
    """The folds of a model whose layer, norm and ReLU follow one another in one chain.

    Left out are norms that are not one linear function of each channel in eval mode: layer, group and instance
    norm, whose folds are others for each sample, and batch norm without running averages.
    """
    for prefix, chain in model.named_modules():
        if isinstance(chain, nn.Sequential):
            yield from _folds_of(f"{prefix}." if prefix else "", list(chain.named_children()))


def _folds_of(prefix: str, children: Sequence[tuple[str, nn.Module]]) -> Iterator[Fold]:
    for index, (name, layer) in enumerate(children):
        norm: Normalization | None = None
        follower = _child(children, index + 1)
        if isinstance(follower, Normalization):
            name, norm, follower = children[index + 1][0], follower, _child(children, index + 2)
        if isinstance(layer, nn.Linear | nn.Conv2d) and isinstance(follower, nn.ReLU) and _is_linear(norm):
            yield Fold(name=prefix + name, layer=layer, norm=norm, relu=follower)


def _child(children: Sequence[tuple[str, nn.Module]], index: int) -> nn.Module | None:
    return children[index][1] if index < len(children) else None


def _is_linear(norm: Normalization | None) -> bool:
    if norm is None or isinstance(norm, Identity | FrozenBatchNorm):
        return True
    return isinstance(norm, RunningNorm) and not isinstance(norm, StepBatchNorm)


@contextmanager
def watching(watched: Sequence[Fold], take: Take) -> Iterator[None]:
    """Call `take` for each fold in every forward pass, as soon as its ReLU has run."""
    held: dict[Fold, Tensor] = {}
    with ExitStack() as hooks:
        for fold in watched:
            hooks.enter_context(fold.layer.register_forward_hook(partial(_hold, held, fold)))
            hooks.enter_context(fold.relu.register_forward_hook(partial(_give, held, fold, take)))
        yield


def _hold(
    held: dict[Fold, Tensor], fold: Fold, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    held[fold] = output


def _give(
    held: dict[Fold, Tensor], fold: Fold, take: Take, relu: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    take(fold, fold.channels_first(held.pop(fold)), fold.channels_first(inputs[0]))
