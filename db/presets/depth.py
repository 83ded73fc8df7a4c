"""Plain and residual networks by depth, with and without batch norm."""

from collections.abc import Sequence

from db.presets.parts import CIFAR10, CIFAR10_QUICK, DIGITS, MNIST_QUICK, Json, arm, recording, sgd
from db.presets.records import Preset

#: He's, under which signals of plain networks of ReLUs keep their size.
INIT: Json = {"name": "kaiming_normal"}


def _perceptrons(depths: Sequence[int], dataset: Json, steps: int) -> list[Json]:
    """Plain stacks of fully connected layers, so cheap that they can be deep."""
    return [
        arm(
            f"plain {depth}",
            {
                "dataset": dataset,
                "architecture": {"name": "mlp", "hidden": [64] * (depth - 1), "init": INIT},
                "optimizer": sgd(0.1),
                "batch_size": 128,
                "steps": steps,
            },
        )
        for depth in depths
    ]


def _networks(name: str, depths: Sequence[int], width: int | None = None) -> list[Json]:
    size: Json = {} if width is None else {"width": width}
    return [
        arm(
            f"{name} {depth}",
            {"architecture": {"name": name, "depth": depth, "init": INIT} | size},
        )
        for depth in depths
    ]


def _declaration(
    dataset: Json,
    plain: list[Json],
    residual: list[Json],
    *,
    steps: int,
    every: int,
    seeds: int,
    target: float,
    batch_size: int,
) -> Json:
    return {
        "base": {
            "dataset": dataset,
            "optimizer": sgd(0.05, momentum=0.9),
            "steps": steps,
            "batch_size": batch_size,
            **recording(every),
        },
        "arms": plain + residual,
        "axes": {"norm": ["none", "batch", "skip_init"]},
        # A learned scalar on each residual branch needs residual branches.
        "exclude": [{"arm": each["name"], "norm": "skip_init"} for each in plain],
        "baseline": {"norm": "none"},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


DEPTH = Preset(
    name="depth",
    title="Which depths train, plain and residual, with and without batch norm",
    source="He et al. 2015 (arXiv 1512.03385), section 4.2, figure 6, table 6; De & Smith 2020 (arXiv 2002.10444)",
    reported="On CIFAR-10, all with batch norm, plain networks get worse from 20 to 56 layers, in training too, "
    "while residual ones get better: error 8.75, 7.51, 7.17, 6.97 and 6.43 % at 20, 32, 44, 56 and 110 layers. De "
    "& Smith: without norm deep residual networks train if each branch begins at 0 (SkipInit), which batch norm "
    "brings about by itself.",
    expected="Perceptrons of 5 layers train either way; at 20 the plain one falls behind by ten points or more, "
    "with batch norm it does not; at 50 neither trains in 500 steps, for batch norm alone makes gradients of deep "
    "plain networks grow with depth. Residual networks without a norm diverge within a few steps at this rate; "
    "with batch norm they train, and with SkipInit too, slower at first. 200 steps are too few to show that "
    "deeper residual networks end better; `full` has the paper's 64,000, without augmentation and its falling "
    "rate, and compares with VGG, as the paper's plain networks of the same depths are not offered.",
    scales={
        "smoke": _declaration(
            DIGITS,
            _perceptrons((5, 20), DIGITS, 30),
            _networks("resnet", (8,), width=8),
            steps=30,
            every=15,
            seeds=1,
            target=0.3,
            batch_size=32,
        ),
        "quick": _declaration(
            CIFAR10_QUICK,
            _perceptrons((5, 20, 50), MNIST_QUICK, 500),
            _networks("resnet", (8, 20, 32), width=8),
            steps=200,
            every=10,
            seeds=3,
            target=0.3,
            batch_size=32,
        ),
        "full": _declaration(
            CIFAR10,
            _networks("vgg", (11, 13, 16, 19)),
            _networks("resnet", (20, 32, 44, 56, 110)),
            steps=64_000,
            every=1000,
            seeds=5,
            target=0.85,
            batch_size=128,
        ),
    },
)
