"""The transformer's encoder."""

from math import gcd
from typing import Annotated, Literal

from pydantic import Field

from db.spec.architectures.base import ArchitecturePart, Share, Width
from db.spec.errors import spec_error
from models.blueprint import Blueprint, NormChoice
from models.catalog.names import ActivationName
from models.networks.transformer import transformer


class Transformer(ArchitecturePart):
    """Attention over the patches or the rows of an image, then a linear output from the mean of the tokens.

    Norms of the weights act on the linear layers of the feed-forward networks and of the rows, not on the
    matrices inside attention and patches.
    """

    name: Literal["transformer"]
    patch: Width | None = None
    """Side of the square patches that become tokens; null for one token for each row."""
    depth: Annotated[int, Field(strict=True, ge=1, le=64)] = 2
    """Blocks."""
    features: Width = 64
    """Numbers in a token."""
    heads: Width = 4
    """Heads of each attention; they must divide `features`."""
    hidden: Width = 128
    """Units of each feed-forward network."""
    activation: ActivationName = ActivationName.GELU
    dropout: Share = 0.0
    """Probability of dropout: after the positions, on the weights of attention, inside the feed-forward networks
    and after both parts of a block."""

    def blueprint(self, input_shape: tuple[int, ...], outputs: int, norm: NormChoice) -> Blueprint:
        self._check_heads()
        self._check_patch(input_shape)
        return transformer(
            input_shape,
            outputs,
            patch=self.patch,
            depth=self.depth,
            features=self.features,
            heads=self.heads,
            hidden=self.hidden,
            activation=self.activation,
            dropout=self.dropout,
            norm=norm,
            init=self.init.record(),
        )

    def _check_heads(self) -> None:
        if self.features % self.heads:
            divisors = _divisors(self.features)
            raise spec_error(
                "heads_do_not_divide",
                "/architecture/heads",
                f"{self.features} features are not divisible by {self.heads} heads; they are by "
                f"{', '.join(map(str, divisors))}.",
                allowed=divisors,
            )

    def _check_patch(self, input_shape: tuple[int, ...]) -> None:
        """The patches cover the image; what is no image is refused by its shape."""
        if self.patch is None or len(input_shape) != 3:
            return
        _, height, width = input_shape
        if height % self.patch or width % self.patch:
            divisors = _divisors(gcd(height, width))
            raise spec_error(
                "patch_does_not_divide",
                "/architecture/patch",
                f"Patches of {self.patch} do not cover images of {height} x {width}; sides that do: "
                f"{', '.join(map(str, divisors))}. Or null, for one token for each row.",
                allowed=[*divisors, None],
            )


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
