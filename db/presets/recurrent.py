"""LSTM without norm, with layer norm, and with recurrent batch norm."""

from db.presets.parts import DIGITS, MNIST, MNIST_QUICK, Json, arm, recording
from db.presets.records import Preset

#: What the scales of batch norm begin at: the paper's, and the usual one, which it warns of.
GAMMA, USUAL_GAMMA = 0.1, 1.0


def _declaration(
    dataset: Json, hidden: int, *, lr: float, steps: int, every: int, seeds: int, target: float
) -> Json:
    return {
        "base": {
            "dataset": dataset,
            "architecture": {"name": "lstm", "hidden": [hidden]},
            # The paper has RMSProp with momentum.
            "optimizer": {"name": "AdamW", "lr": lr, "weight_decay": 0.0},
            "batch_size": 64,
            "steps": steps,
            **recording(every, "eval", "train", "precise"),
        },
        "arms": [
            arm("LSTM", {"norm": "none"}),
            arm("LN-LSTM", {"norm": "layer"}),
            arm("BN-LSTM", {"norm": "batch", "architecture.gamma": GAMMA}),
            arm("BN-LSTM, scales from 1", {"norm": "batch", "architecture.gamma": USUAL_GAMMA}),
        ],
        "baseline": {"arm": "LSTM"},
        "target": {"metric": "test/accuracy", "value": target},
        "seeds": seeds,
    }


RECURRENT = Preset(
    name="recurrent",
    title="LSTM without norm, with layer norm, and with batch norm of each time step",
    source="Cooijmans et al. 2016 (arXiv 1603.09025), sections 4 and 5.1, table 1; Ba et al. 2016 (arXiv "
    "1607.06450)",
    reported="MNIST pixel by pixel (784 steps), test accuracy: LSTM 98.9 %, BN-LSTM 99.0 %; with the pixels in a "
    "fixed random order 90.2 and 95.4 %. Batch norm trains faster in both. Its scales begin at 0.1: from 1 on the "
    "gradients vanish in the tanh.",
    expected="MNIST row by row (28 steps of 28 pixels, which is much easier than the paper's 784 of one), 500 "
    "steps. All train; 90 % takes the plain LSTM about 450 steps, with batch norm or layer norm 250 to 275, and "
    "with scales that begin at 1 no fewer than without a norm. Final accuracies lie within a few points. Neither "
    "pixel by pixel nor permuted images are offered, so the gap of the paper's permuted task will not show at any "
    "scale.",
    scales={
        "smoke": _declaration(DIGITS, 32, lr=0.005, steps=60, every=30, seeds=1, target=0.5),
        "quick": _declaration(MNIST_QUICK, 64, lr=0.002, steps=500, every=25, seeds=3, target=0.9),
        "full": _declaration(MNIST, 100, lr=0.001, steps=50_000, every=500, seeds=5, target=0.98),
    },
)
