"""The norm `mean_only_batch`: what the catalogue says of it, and its options. Free of torch, as the API is."""

from typing import Literal

from db.spec.norms.base import Momentum, PlacedNorm
from models.catalog.records import NormInfo, NormPlugin


class MeanOnlyBatchNorm(PlacedNorm):
    """Mean-only batch normalization."""

    name: Literal["mean_only_batch"]
    momentum: Momentum | None = 0.1
    """Weight of the newest batch in the running average; null weighs every batch the same."""


PLUGIN = NormPlugin(
    info=NormInfo(
        name="mean_only_batch",
        summary="Each channel less the mean of the mini-batch, plus a learned shift.",
        formula=r"y = x - \mu_B + \beta",
        reference="Salimans & Kingma 2016 (arXiv 1602.07868), section 4",
        eval_mode="a running average of the mean",
        pitfalls=(
            "The scale of the activations is left as it is; the paper lets weight normalization see to that.",
            "Of a single value in a batch nothing but the shift is left: refused.",
        ),
        # The shift takes the place of a bias before it.
        absorbs_bias=True,
        uses_batch=True,
        values_per_channel=2,
        per_channel=1,
    ),
    spec=MeanOnlyBatchNorm,
    layer="normlab_example.mean_only_batch_layer:MeanOnlyBatchNorm",
    architectures=("mlp", "cnn", "vgg", "resnet", "densenet", "inception", "lenet"),
)
