"""Modules for the kinds of layers that torch has no module for."""

from collections import OrderedDict
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Sequential):
    """shortcut(x) + branch(x). He et al. 2015 (arXiv 1512.03385), equation 2.

    The layers of the branch are its own children, so that their names are short; `shortcut` is one more. With
    `skip_init` the branch is multiplied by a learned scalar that begins at 0 (De & Smith 2020, arXiv 2002.10444).
    """

    def __init__(self, branch: OrderedDict[str, nn.Module], shortcut: nn.Module, *, skip_init: bool) -> None:
        super().__init__(branch)
        self.depth = len(branch)
        self.shortcut = shortcut
        self.alpha = nn.Parameter(torch.zeros(())) if skip_init else None

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in islice(self, self.depth):
            y = layer(y)
        if self.alpha is not None:
            y = y * self.alpha
        shortcut: Tensor = self.shortcut(x)
        return shortcut + y


class Dense(nn.Sequential):
    """x and branch(x), one after the other in the channels. Huang et al. 2016 (arXiv 1608.06993), equation 2."""

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return torch.cat((x, y), dim=1)


class Concat(nn.ModuleDict):
    """All branches of x, one after the other in the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], dim=1)


class GlobalPool(nn.Module):
    """Mean or largest value over all positions. (N, C, H, W) to (N, C)."""

    def __init__(self, pool: str = "avg") -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3)) if self.pool == "max" else x.mean((2, 3))


class ZeroPad(nn.Module):
    """Every `stride`-th position, then `more` channels of zeros. (N, C, H, W) to (N, C + more, H', W')."""

    def __init__(self, *, stride: int, more: int) -> None:
        super().__init__()
        self.stride = stride
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


class TokenNorm(nn.Module):
    """A norm to which each token is a sample. (N, T, F)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.flatten(0, 1))
        return y.view_as(x)


class Rows(nn.Module):
    """An image as the sequence of its rows. (N, C, H, W) to (N, H, C * W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


class LastStep(nn.Module):
    """The last time step. (N, T, F) to (N, F)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]


class MeanToken(nn.Module):
    """The mean of all tokens. (N, T, F) to (N, F)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Patchify(nn.Module):
    """Square patches of an image, each a token through one linear map. (N, C, H, W) to (N, T, F).

    Dosovitskiy et al. 2020 (arXiv 2010.11929), equation 1.
    """

    def __init__(self, *, inputs: int, features: int, patch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, features, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.conv(x)
        return patches.flatten(2).transpose(1, 2)


class PositionalEmbedding(nn.Module):
    """Adds a learned vector to each token; they begin small (std 0.02). (N, T, F)."""

    def __init__(self, *, tokens: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, features))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class Attention(nn.Module):
    """Multi-head self-attention. (N, T, F). Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.2."""

    def __init__(self, *, features: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(features, 3 * features)
        self.output = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        samples, tokens, features = x.shape
        joined = self.query_key_value(x).view(samples, tokens, 3, self.heads, features // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        heads = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        y: Tensor = self.output(heads.transpose(1, 2).flatten(2))
        return y
