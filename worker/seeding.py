"""Same spec, same seed, same machine: the same weights, bit for bit."""

import os
import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed every generator and ask for deterministic kernels; call before the network is built."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    # cuBLAS reads this once, when the first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Otherwise every fresh buffer is filled first, which costs a twentieth of a small network's step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property
    torch.backends.cudnn.benchmark = False
