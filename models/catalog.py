"""The names that a job may use for networks, norms, activations and initializations."""

from dataclasses import dataclass, field
from enum import StrEnum


class Architecture(StrEnum):
    """Networks, by the name that a spec gives."""

    MLP = "mlp"


class NormName(StrEnum):
    """Normalizations, by the name that a spec gives."""

    NONE = "none"
    BATCH = "batch"


class ActivationName(StrEnum):
    """Activations; `linear` is the identity and makes an MLP a deep linear network."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    RELU = "relu"
    LINEAR = "linear"


class InitName(StrEnum):
    """Weight initializations, by the names of `torch.nn.init`; `default` leaves torch's own."""

    DEFAULT = "default"
    NORMAL = "normal"
    XAVIER_UNIFORM = "xavier_uniform"
    XAVIER_NORMAL = "xavier_normal"
    KAIMING_UNIFORM = "kaiming_uniform"
    KAIMING_NORMAL = "kaiming_normal"


class Position(StrEnum):
    """Where a norm stands; `auto` is the network's own convention."""

    AUTO = "auto"
    BEFORE_ACTIVATION = "before_activation"


@dataclass(frozen=True, kw_only=True)
class ArchitectureInfo:
    """What the catalogue says of a network."""

    name: Architecture
    summary: str
    reference: str
    norms: tuple[NormName, ...]
    positions: tuple[Position, ...]


@dataclass(frozen=True, kw_only=True)
class NormInfo:
    """What the catalogue says of a norm."""

    name: NormName
    summary: str
    reference: str
    #: What eval mode uses in place of the mini-batch's moments.
    eval_mode: str
    #: A bias straight before such a norm has no effect and is left out.
    absorbs_bias: bool
    #: Train mode needs at least this many values for each channel.
    values_per_channel: int = 1
    options: dict[str, str] = field(default_factory=dict)


ARCHITECTURES: dict[Architecture, ArchitectureInfo] = {
    Architecture.MLP: ArchitectureInfo(
        name=Architecture.MLP,
        summary="Fully connected layers: flatten, then linear, norm and activation for each hidden size, "
        "then a linear output.",
        reference="Ioffe & Szegedy 2015 (arXiv 1502.03167), section 4.1: hidden [100, 100, 100], sigmoid",
        norms=tuple(NormName),
        positions=(Position.BEFORE_ACTIVATION,),
    ),
}

NORMS: dict[NormName, NormInfo] = {
    NormName.NONE: NormInfo(
        name=NormName.NONE,
        summary="No normalization; an identity stands at each site, so that the same records are kept.",
        reference="",
        eval_mode="the same as train mode",
        absorbs_bias=False,
    ),
    NormName.BATCH: NormInfo(
        name=NormName.BATCH,
        summary="Batch normalization: each channel by the mean and variance of the mini-batch.",
        reference="Ioffe & Szegedy 2015 (arXiv 1502.03167), algorithms 1 and 2",
        eval_mode="running averages of mean and variance",
        absorbs_bias=True,
        values_per_channel=2,
        options={
            "momentum": "weight of the newest batch in the running averages (torch's convention)",
            "eps": "added to the variance",
            "affine": "learn a scale and a shift for each channel",
        },
    ),
}
