"""What the quick runs of the presets must show: the claims of the literature that hold on small networks.

Each function reads what `presets.py run` kept of one preset. The limits are generous: they say what every machine
and every choice of seeds should show, not what was measured once.
"""

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

ACCURACY = "test/accuracy"
#: Of ten classes.
CHANCE = 0.1


class Claim(NamedTuple):
    """One statement, whether it holds, and the numbers that say so."""

    letter: str
    statement: str
    holds: bool
    measured: str


class Runs:
    """The arms of a report, by what was chosen for them."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found
        self.arms = found["report"]["arms"]

    def arm(self, **chosen: Any) -> dict[str, Any]:
        """The one arm with these coordinates, by path; `lr`, `std` and `norm_name` in short."""
        fitting = [arm for arm in self.arms if all(_chosen(arm, key) == value for key, value in chosen.items())]
        if len(fitting) != 1:
            raise LookupError(f"{len(fitting)} arms have {chosen}")
        return dict(fitting[0])

    def final(self, metric: str = ACCURACY, **chosen: Any) -> dict[str, float]:
        """Median, min and max over the seeds that did not diverge; chance where all of them did.

        Raises:
            LookupError: no run has the metric for another reason.
        """
        arm = self.arm(**chosen)
        if (spread := arm["final"].get(metric)) is not None:
            return dict(spread)
        if arm["divergence"]["count"] != sum(arm["cells"].values()) or not metric.endswith("accuracy"):
            raise LookupError(f"no run of {arm['name']} has {metric}")
        return {"median": CHANCE, "min": CHANCE, "max": CHANCE}

    def probe(self, name: str, column: Callable[[dict[str, Any]], float], **chosen: Any) -> float:
        """Over the seeds of an arm the median of a number of each run's probe."""
        number = self.arm(**chosen)["number"]
        jobs = [cell["job"] for cell in self._found["cells"] if cell["arm"] == number]
        return median(column(self._found["probes"][job][name]) for job in jobs)


def _chosen(arm: dict[str, Any], key: str) -> Any:
    if key == "norm_name":
        norm = arm["coordinates"].get("norm")
        return norm["name"] if isinstance(norm, dict) else norm
    return arm["coordinates"].get({"lr": "optimizer.lr", "std": "architecture.init.std"}.get(key, key))


def _percent(*shares: float) -> str:
    return ", ".join(f"{share:.1%}" for share in shares)


def ioffe2015_mnist(found: dict[str, Any]) -> Iterator[Claim]:
    """A, B and C."""
    runs = Runs(found)
    none, batch = (runs.final(norm_name=norm, std=0.01) for norm in ("none", "batch"))
    trains = none["max"] < 0.2 and batch["min"] > 0.9
    yield Claim(
        "A",
        "with small weights the plain network stays below 20 % and the normalized one passes 90 %, every seed",
        trains,
        _percent(none["max"], batch["min"]),
    )
    equal = runs.arm(norm_name="batch", std=0.1, lr=0.1)["speed_up"]["equal_lr"]
    ratio = equal["ratio"] or equal["at_least"] or 0.0
    yield Claim(
        "B", "at learning rate 0.1 it takes at least 3 times fewer steps to 90 %", ratio >= 3, f"{ratio:.2g}x"
    )
    rates = (0.1, 0.5, 1.0, 3.0)
    best = {
        norm: max(runs.final(norm_name=norm, std=0.1, lr=lr)["median"] for lr in rates)
        for norm in ("none", "batch")
    }
    yield Claim(
        "C",
        "each at its best learning rate, the normalized network ends no lower",
        best["batch"] >= best["none"],
        _percent(best["batch"], best["none"]),
    )


def santurkar2018_noise(found: dict[str, Any]) -> Iterator[Claim]:
    """F."""
    runs = Runs(found)
    batch, noisy = runs.final(arm="BatchNorm")["median"], runs.final(arm="Noisy BatchNorm")["median"]
    noise = runs.final(arm="Standard + noise")["max"]
    close = abs(batch - noisy) <= 0.02
    yield Claim("F", "with noise it ends within 2 points of batch norm", close, _percent(batch, noisy))
    yield Claim("F", "the same noise without batch norm stays below 20 %", noise < 0.2, _percent(noise))


def santurkar2018_landscape(found: dict[str, Any]) -> Iterator[Claim]:
    """D and G."""
    runs = Runs(found)
    rates = sorted({arm["coordinates"]["optimizer.lr"] for arm in runs.arms})
    works = {
        norm: [lr for lr in rates if runs.final(norm_name=norm, lr=lr)["median"] >= 0.85]
        for norm in ("none", "batch")
    }
    largest = max(works["none"], default=0.1)
    wide = all(any(abs(lr - factor * largest) < 0.01 * lr for lr in works["batch"]) for factor in (10, 30))
    yield Claim("D", "batch norm trains at 10 and 30 times the largest rate that works without", wide, f"{works}")
    loss, gradient = (
        {norm: runs.probe("landscape", column, norm_name=norm, lr=0.1) for norm in ("none", "batch")}
        for column in (_loss_range, _gradient_range)
    )
    ratios = [each["none"] / each["batch"] for each in (loss, gradient)]
    yield Claim("G", "the range of the loss is at least 5 times smaller", ratios[0] >= 5, f"{ratios[0]:.1f}x")
    yield Claim("G", "the range of the gradient is at least 2 times smaller", ratios[1] >= 2, f"{ratios[1]:.1f}x")


def _loss_range(probe: dict[str, Any]) -> float:
    values = probe["values"]
    return median(high - low for low, high in zip(values["loss_min"], values["loss_max"], strict=True))


def _gradient_range(probe: dict[str, Any]) -> float:
    return median(probe["values"]["gradient_max"])


def santurkar2018_covariate_shift(found: dict[str, Any]) -> Iterator[Claim]:
    """H."""
    runs = Runs(found)
    least = {norm: runs.probe("covariate_shift", _least_cosine, norm_name=norm) for norm in ("none", "batch")}
    loss = {norm: runs.final("test/loss", norm_name=norm)["median"] for norm in ("none", "batch")}
    shown = f"{least['none']:.3f}, {least['batch']:.3f}"
    holds = least["none"] > 0.95 and least["batch"] < 0.5
    yield Claim(
        "H", "gradients keep their direction without batch norm (> 0.95) and not with it (< 0.5)", holds, shown
    )
    lower = loss["batch"] < loss["none"]
    yield Claim("H", "and with it the loss ends lower", lower, f"{loss['batch']:.3g}, {loss['none']:.3g}")


def _least_cosine(probe: dict[str, Any]) -> float:
    return min(min(layer["cosine"]) for layer in probe["layers"].values())


def wu2018_batch_size(found: dict[str, Any]) -> Iterator[Claim]:
    """I and J."""
    runs = Runs(found)
    mlp = {
        (norm, size): runs.final(arm=f"mlp, batch {size}", norm_name=norm)["median"]
        for norm in ("batch", "layer")
        for size in (2, 32)
    }
    fails = mlp["batch", 2] < 0.6 and mlp["layer", 2] > 0.9
    yield Claim(
        "I",
        "with batches of 2 batch norm fails a perceptron (< 60 %) and layer norm does not (> 90 %)",
        fails,
        _percent(mlp["batch", 2], mlp["layer", 2]),
    )
    alike = abs(mlp["batch", 32] - mlp["layer", 32]) <= 0.02
    yield Claim(
        "I", "with batches of 32 the two are within 2 points", alike, _percent(mlp["batch", 32], mlp["layer", 32])
    )
    cnn = [runs.final("test/loss", arm=f"cnn, batch {size}", norm_name="batch")["median"] for size in (2, 8, 32)]
    plain = [runs.final(arm=f"cnn, batch {size}", norm_name="batch")["median"] for size in (2, 32)]
    yield Claim(
        "J",
        "a small convolutional network loses only a little: loss falls as batches grow",
        cnn[0] >= cnn[2] and plain[0] > 0.5 * plain[1],
        ", ".join(f"{loss:.3f}" for loss in cnn),
    )


def wu2021_precise(found: dict[str, Any]) -> Iterator[Claim]:
    """K and N, and that population statistics do not rescue batches of two (M)."""
    runs = Runs(found)
    modes = ("eval_mode", "precise", "train_mode_large")
    gap = {name: runs.final(f"gap/{name}/accuracy", arm="momentum 0.001")["median"] for name in modes}
    lost = gap["train_mode_large"] - gap["eval_mode"]
    share = (gap["precise"] - gap["eval_mode"]) / lost if lost > 0 else 0.0
    yield Claim(
        "K",
        "population statistics recover at least 80 % of what averages that lag lose",
        share >= 0.8,
        f"{share:.0%} of {100 * lost:.1f} points",
    )
    eval_mode, precise = (runs.final(f"test/{name}accuracy", arm="batch 2")["median"] for name in ("", "precise/"))
    yield Claim(
        "M", "they do not rescue batches of two", max(eval_mode, precise) < 0.6, _percent(eval_mode, precise)
    )
    batch = runs.final(arm="2 classes in each batch")["median"]
    layer = runs.final(arm="2 classes in each batch, layer norm")["median"]
    better = layer > batch + 0.03
    yield Claim(
        "N", "with two classes in each batch layer norm is 3 points better", better, _percent(layer, batch)
    )


def ioffe2017_renorm(found: dict[str, Any]) -> Iterator[Claim]:
    """O."""
    runs = Runs(found)
    batch, renorm = (runs.final(arm="batch 2", norm_name=norm)["median"] for norm in ("batch", "batch_renorm"))
    yield Claim(
        "O",
        "with batches of 2 renorm is at least 15 points better",
        renorm >= batch + 0.15,
        _percent(renorm, batch),
    )


def hoffer2017_ghost(found: dict[str, Any]) -> Iterator[Claim]:
    """O."""
    runs = Runs(found)
    plain, ghost = (runs.final(arm=arm)["median"] for arm in ("small batch", "small batch, ghosts of 32"))
    yield Claim(
        "O",
        "ghosts of 32 end within 1.5 points of batch norm",
        abs(plain - ghost) <= 0.015,
        _percent(ghost, plain),
    )


CLAIMS: dict[str, Callable[[dict[str, Any]], Iterator[Claim]]] = {
    "ioffe2015-mnist": ioffe2015_mnist,
    "santurkar2018-noise": santurkar2018_noise,
    "santurkar2018-landscape": santurkar2018_landscape,
    "santurkar2018-covariate-shift": santurkar2018_covariate_shift,
    "wu2018-batch-size": wu2018_batch_size,
    "wu2021-precise": wu2021_precise,
    "ioffe2017-renorm": ioffe2017_renorm,
    "hoffer2017-ghost": hoffer2017_ghost,
}
