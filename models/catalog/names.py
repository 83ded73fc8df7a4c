"""The names that come with normlab; installed packages may add networks and norms of their own."""

from enum import StrEnum


class Architecture(StrEnum):
    """Networks, by the name that a spec gives."""

    MLP = "mlp"
    CNN = "cnn"
    VGG = "vgg"
    RESNET = "resnet"
    DENSENET = "densenet"
    INCEPTION = "inception"
    LSTM = "lstm"
    GRU = "gru"
    TRANSFORMER = "transformer"
    SEQUENTIAL = "sequential"


class NormName(StrEnum):
    """Normalizations, by the name that a spec gives."""

    NONE = "none"
    BATCH = "batch"
    SYNC_BATCH = "sync_batch"
    GHOST_BATCH = "ghost_batch"
    BATCH_RENORM = "batch_renorm"
    FROZEN_BATCH = "frozen_batch"
    NOISY_BATCH = "noisy_batch"
    LP_BATCH = "lp_batch"
    LAYER = "layer"
    RMS = "rms"
    INSTANCE = "instance"
    GROUP = "group"
    WEIGHT_STANDARDIZATION = "weight_standardization"
    WEIGHT = "weight"
    SPECTRAL = "spectral"
    LOCAL_RESPONSE = "local_response"
    FILTER_RESPONSE = "filter_response"
    EVONORM_S0 = "evonorm_s0"
    EVONORM_B0 = "evonorm_b0"
    DYT = "dyt"
    SKIP_INIT = "skip_init"


class ActivationName(StrEnum):
    """Activations; `linear` is the identity and makes an MLP a deep linear network."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    RELU = "relu"
    GELU = "gelu"
    SILU = "silu"
    LINEAR = "linear"


class InitName(StrEnum):
    """Weight initializations, by the names of `torch.nn.init`; `default` leaves torch's own."""

    DEFAULT = "default"
    NORMAL = "normal"
    TRUNC_NORMAL = "trunc_normal"
    ORTHOGONAL = "orthogonal"
    XAVIER_UNIFORM = "xavier_uniform"
    XAVIER_NORMAL = "xavier_normal"
    KAIMING_UNIFORM = "kaiming_uniform"
    KAIMING_NORMAL = "kaiming_normal"


class Position(StrEnum):
    """Where a norm stands; `auto` is the network's own convention."""

    AUTO = "auto"
    BEFORE_ACTIVATION = "before_activation"
    AFTER_ACTIVATION = "after_activation"
    NORM_FIRST = "norm_first"
    NORM_LAST = "norm_last"
