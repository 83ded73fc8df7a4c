"""Santurkar et al. 2018: noise behind batch normalization, and other norms in its place."""

from db.presets.parts import CIFAR10, DIGITS, MNIST_QUICK, Json, arm, recording, sgd
from db.presets.records import Preset

#: The paper's VGG: CIFAR-10 without augmentation, batches of 128, rate 0.1, 15,000 steps, Glorot's weights.
VGG: Json = {"name": "vgg", "depth": 11, "init": {"name": "xavier_uniform"}}
VGG_BASE: Json = {
    "dataset": CIFAR10,
    "architecture": VGG,
    "optimizer": sgd(0.1),
    "batch_size": 128,
    "steps": 15_000,
}
#: Of the VGG: the paper has 83 % with batch normalization and 80 % without.
VGG_TARGET = 0.8

#: The law of the paper's algorithm 1, its constants spelled out.
NOISE: Json = {"n_mu": 0.5, "n_sigma": 1.25, "r_mu": 0.1, "r_sigma": 0.1}


def _sigmoid_mlp(dataset: Json, *, std: float, steps: int, every: int, statistics: int) -> Json:
    """The network of Ioffe & Szegedy 2015, section 4.1, small enough for minutes."""
    return {
        "dataset": dataset | {"binarize": True},
        "architecture": {
            "name": "mlp",
            "hidden": [100, 100, 100],
            "activation": "sigmoid",
            "init": {"name": "normal", "std": std},
        },
        "optimizer": sgd(0.1),
        "batch_size": 60,
        "steps": steps,
        **recording(every, "eval", "train", "precise", statistics=statistics),
    }


def _noise(base: Json, *, seeds: int, target: float) -> Json:
    return {
        "base": base,
        "arms": [
            arm("Standard", {"norm": "none"}),
            arm("Standard + noise", {"norm": {"name": "noisy_batch", "normalize": False} | NOISE}),
            arm("BatchNorm", {"norm": "batch"}),
            arm("Noisy BatchNorm", {"norm": {"name": "noisy_batch"} | NOISE}),
        ],
        "baseline": {"arm": "BatchNorm"},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


#: At 0.1 noise alone does not keep the network from learning; at 0.01 it takes batch normalization to learn.
NOISE_STD = 0.01

SANTURKAR2018_NOISE = Preset(
    name="santurkar2018-noise",
    title="Noise that moves the distributions behind batch normalization does not undo what it gives",
    source="Santurkar et al. 2018 (arXiv 1805.11604), section 2.1, figure 2, and appendix A, algorithm 1",
    reported="A VGG on CIFAR-10 trains nearly as well with batch normalization and noise after it, drawn anew for "
    "each step and with a mean and a variance that are not 0 and 1, as with batch normalization alone, and better "
    "than without; the distributions of its activations are less stable than without. The same noise without "
    "batch normalization prevents training.",
    expected="On a sigmoid network whose plain form does not train (initial weights of standard deviation 0.01): "
    "plain and plain with noise stay at 11 %, noisy batch normalization ends within 2 points of batch "
    "normalization. That noise alone prevents training does not show by itself: this plain network does not train "
    "anyway, and one that does (0.1) still reaches 90 % with the noise. `full` is the paper's training on VGG-11; "
    "the paper does not name its depth, nor say whether the noise stays in eval mode (here it does not).",
    scales={
        "smoke": _noise(
            _sigmoid_mlp(DIGITS, std=NOISE_STD, steps=200, every=100, statistics=100), seeds=1, target=0.5
        ),
        "quick": _noise(
            _sigmoid_mlp(MNIST_QUICK, std=NOISE_STD, steps=3000, every=50, statistics=300), seeds=3, target=0.9
        ),
        "full": _noise(VGG_BASE | recording(250, statistics=500), seeds=5, target=VGG_TARGET),
    },
)


def _lp(base: Json, *, seeds: int, target: float) -> Json:
    norms = [{"name": "lp_batch", "p": p, "centered": False} for p in (1, 2, "inf")]
    return {
        "base": base,
        "axes": {"norm": ["none", "batch", *norms]},
        "baseline": {"norm": "batch"},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


#: At which plain and normalized networks all learn, so that only their speed differs.
LP_STD = 0.1

SANTURKAR2018_LP = Preset(
    name="santurkar2018-lp",
    title="Division by other p-norms trains as well as batch normalization",
    source="Santurkar et al. 2018 (arXiv 1805.11604), section 3.3 and appendix B",
    reported="Fixing the mean and dividing by the average p-norm (p = 1, 2, infinity, taken before the mean is "
    "subtracted) trains as well as batch normalization, with p = 1 better on deep linear networks, although the "
    "distributions are no longer Gaussian and shift more than without any norm.",
    expected="On the sigmoid network of Ioffe & Szegedy and MNIST, 90 % of test accuracy takes p = 1 and p = 2 "
    "some 550 to 600 steps, like batch normalization (700 to 800); p = infinity is slower (1,700), and all are "
    "faster than the plain network (4,300 to 4,500). The paper's deep linear networks are not in it. `full` is "
    "the paper's training on VGG-11.",
    scales={
        "smoke": _lp(_sigmoid_mlp(DIGITS, std=LP_STD, steps=200, every=100, statistics=100), seeds=1, target=0.5),
        "quick": _lp(
            _sigmoid_mlp(MNIST_QUICK, std=LP_STD, steps=5000, every=50, statistics=500), seeds=3, target=0.9
        ),
        "full": _lp(VGG_BASE | recording(250, statistics=500), seeds=5, target=VGG_TARGET),
    },
)
