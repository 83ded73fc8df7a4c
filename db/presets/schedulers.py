"""Schedules of the learning rate, with and without batch norm."""

from db.presets.parts import CIFAR10, CIFAR10_QUICK, DIGITS, SMALL_CNN, Json, arm, recording, sgd
from db.presets.records import Preset

MOMENTUM = 0.9
#: Share of the job in which the rate rises.
WARMUP = 0.1
#: What the rate of one cycle rises to, as a multiple of the constant one.
PEAK = 3


def _schedules(steps: int, lr: float) -> dict[str, Json | None]:
    """One of each kind, in the length of the job."""
    return {
        "constant": None,
        "warm-up": {"name": "ConstantLR", "factor": 1.0, "warmup_steps": round(WARMUP * steps)},
        "steps": {"name": "MultiStepLR", "milestones": [steps // 2, 3 * steps // 4]},
        "exponential": {"name": "ExponentialLR", "gamma": 0.01 ** (1 / steps)},
        "linear": {"name": "PolynomialLR"},
        "cosine": {"name": "CosineAnnealingLR"},
        "cosine, restarts": {"name": "CosineAnnealingWarmRestarts", "T_0": -(-steps // 7), "T_mult": 2},
        "one cycle": {"name": "OneCycleLR", "max_lr": PEAK * lr},
    }


def _declaration(
    dataset: Json,
    architecture: Json,
    *,
    lr: float,
    batch_size: int,
    steps: int,
    every: int,
    seeds: int,
    target: float,
) -> Json:
    return {
        "base": {
            "dataset": dataset,
            "architecture": architecture,
            "optimizer": sgd(lr, momentum=MOMENTUM),
            "batch_size": batch_size,
            "steps": steps,
            **recording(every),
        },
        "arms": [arm(name, {"scheduler": scheduler}) for name, scheduler in _schedules(steps, lr).items()],
        "axes": {"norm": ["none", "batch"]},
        "baseline": {"arm": "constant"},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


SCHEDULERS = Preset(
    name="schedulers",
    title="Schedules of the learning rate, with and without batch norm",
    source="Loshchilov & Hutter 2017 (arXiv 1608.03983); Goyal et al. 2017 (arXiv 1706.02677), section 2.2; Smith "
    "& Topin 2018 (arXiv 1708.07120)",
    reported="Loshchilov & Hutter: cosines with restarts reach a wide residual network's accuracy on CIFAR-10 in "
    "a half to a quarter of the epochs that a rate falling in steps takes. Goyal et al.: large batches need a "
    "warm-up. Smith & Topin: one cycle up to a high rate brings ResNet-56 to 92.4 % on CIFAR-10 in 10,000 steps, "
    "where a rate falling in steps has 91.2 % after 80,000.",
    expected="A network of three convolutions, 400 steps on CIFAR-10: batch norm is worth 8 to 11 points under "
    "every schedule, a falling rate 2 to 4 points more than a constant one with it and 1 to 2 without. One cycle, "
    "which rises to three times the rate, is best with batch norm. So short a training shows no restarts worth "
    "their name and no need of a warm-up, which is one of large batches; `full` is ResNet-56 with 64,000 steps, "
    "without augmentation.",
    scales={
        "smoke": _declaration(DIGITS, SMALL_CNN, lr=0.05, batch_size=64, steps=30, every=15, seeds=1, target=0.3),
        "quick": _declaration(
            CIFAR10_QUICK, SMALL_CNN, lr=0.05, batch_size=32, steps=400, every=50, seeds=3, target=0.4
        ),
        "full": _declaration(
            CIFAR10,
            {"name": "resnet", "depth": 56},
            lr=0.1,
            batch_size=128,
            steps=64_000,
            every=1000,
            seeds=5,
            target=0.9,
        ),
    },
)
