"""A picture of each preset: how its metric rises, and how it depends on what the preset varies."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from PIL import Image

#: Okabe and Ito's colours, which any colour vision tells apart; the dashes serve print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
#: Of presets with a second picture: against what it is drawn, and what it shows there.
AGAINST: dict[str, tuple[str, str]] = {
    "ioffe2015-mnist": ("optimizer.lr", "steps"),
    "santurkar2018-landscape": ("optimizer.lr", "final"),
    "wu2018-batch-size": ("batch_size", "final"),
    "ioffe2017-renorm": ("batch_size", "final"),
    "balestriero2022-geometry": ("batch_size", "final"),
    "initialization": ("architecture.init.std", "final"),
}


def _over_layers(probe: dict[str, Any], name: str, of: Callable[[Sequence[float]], float]) -> list[float]:
    """Of each measurement one number for all layers; none where layers do not have it."""
    layers = [layer.get(name) for layer in probe["layers"].values()]
    return [] if None in layers else [of(each) for each in zip(*layers, strict=True)]


#: Presets whose other pictures say more.
WITHOUT_CURVES = {"initialization", "santurkar2018-landscape", "balestriero2022-geometry"}
#: Of presets with probes: title, and what each measurement of a run comes to.
PROBES: dict[str, tuple[str, str, Callable[[dict[str, Any]], list[float]]]] = {
    "santurkar2018-landscape": (
        "landscape",
        "range of the loss along the gradient",
        lambda probe: [
            high - low for low, high in zip(probe["values"]["loss_min"], probe["values"]["loss_max"], strict=True)
        ],
    ),
    "santurkar2018-covariate-shift": (
        "covariate_shift",
        "least cosine of a layer's gradients",
        lambda probe: _over_layers(probe, "cosine", min),
    ),
    "balestriero2022-geometry": (
        "geometry",
        "jitter of the folds, mean over layers",
        lambda probe: _over_layers(probe, "jitter", lambda numbers: sum(numbers) / len(numbers)),
    ),
}
#: What the lines of the right picture do not tell apart: it follows from what they are drawn against.
FOLLOWS = {"batch_size", "steps", "optimizer.lr", "evaluate.every", "arm"}

Arm = dict[str, Any]


def draw(name: str, found: dict[str, Any], path: Path) -> None:
    """Write the picture of one preset: curves where there are some, and what the metric depends on."""
    plt.switch_backend("agg")
    panels: list[Callable[[Axes], None]] = []
    has_curves = max(len(series.get("step", [])) for series in found["series"].values()) > 2
    if has_curves and name not in WITHOUT_CURVES:
        panels.append(lambda axes: _curves(axes, found))
    if against := AGAINST.get(name):
        panels.append(lambda axes: _dependence(axes, found, *against))
    if probe := PROBES.get(name):
        panels.append(lambda axes: _probed(axes, found, *probe))
    panels = panels or [lambda axes: _finals(axes, found)]
    size = (13 if len(panels) > 1 else 8.5, 4.4)
    _, axes = plt.subplots(1, len(panels), figsize=size, dpi=130, squeeze=False, layout="constrained")
    for panel, each in zip(panels, axes[0], strict=True):
        panel(each)
    plt.savefig(path)
    plt.close()
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the size


def _curves(axes: Axes, found: dict[str, Any]) -> None:
    """The metric over steps, the median over seeds and from the least to the greatest."""
    report, styles = found["report"], _styles()
    metric = report["selection"]["metric"]
    arms = report["arms"]
    for arm, (color, dash) in zip(arms, styles, strict=False):
        series = _series_of(found, arm["number"])
        if not series:
            continue
        steps, values = series
        axes.plot(
            steps, np.nanmedian(values, axis=0), color=color, linestyle=dash, linewidth=1.6, label=_short(arm)
        )
        axes.fill_between(
            steps, np.nanmin(values, axis=0), np.nanmax(values, axis=0), color=color, alpha=0.12, linewidth=0
        )
    if target := report["target"]:
        axes.axhline(target["value"], color="0.4", linewidth=0.8, linestyle=":")
    _finish(axes, metric, "Steps")
    _name(axes)


def _series_of(found: dict[str, Any], number: int) -> tuple[Any, Any] | None:
    """Steps, and values (runs, steps), of the runs of an arm as far as all of them went."""
    series = [found["series"][cell["job"]] for cell in found["cells"] if cell["arm"] == number]
    series = [each for each in series if each.get("step")]
    if not series:
        return None
    longest = max(series, key=lambda each: len(each["step"]))["step"]
    rows = [
        [_number(value) for value in each["value"]] + [np.nan] * (len(longest) - len(each["value"]))
        for each in series
    ]
    return longest, np.array(rows)


def _number(value: Any) -> float:
    return float(value) if value is not None else np.nan


def _dependence(axes: Axes, found: dict[str, Any], path: str, what: str) -> None:
    """The final metric, or the steps to the target, against one setting; a line for each setting of the others."""
    report = found["report"]
    metric = report["selection"]["metric"]
    families: dict[str, list[tuple[float, Arm]]] = {}
    for arm in report["arms"]:
        if (x := arm["config"].get(path)) is not None:
            families.setdefault(_family(arm, path), []).append((float(x), arm))
    for (family, points), (color, dash) in zip(families.items(), _styles(), strict=False):
        told = [(x, _told(arm, metric, what)) for x, arm in sorted(points, key=lambda point: point[0])]
        drawn = [(x, numbers) for x, numbers in told if numbers is not None]
        xs = [x for x, _ in drawn]
        low, middle, high = ([numbers[place] for _, numbers in drawn] for place in range(3))
        axes.plot(xs, middle, color=color, linestyle=dash, marker="o", label=family)
        axes.fill_between(xs, low, high, color=color, alpha=0.12, linewidth=0)
    target = report["target"]
    y = f"{metric}, at the end" if what == "final" else f"steps to {target['metric']} {target['value']:g}"
    _finish(axes, y, path, sorted({x for points in families.values() for x, _ in points}))
    _name(axes)


def _told(arm: Arm, metric: str, what: str) -> tuple[float, float, float] | None:
    """Least, median and greatest over seeds."""
    if what == "final":
        spread = arm["final"].get(metric)
        return (spread["min"], spread["median"], spread["max"]) if spread else None
    steps = arm["steps_to_target"]["median"]
    return None if steps is None else (steps, steps, steps)


def _probed(
    axes: Axes, found: dict[str, Any], probe: str, title: str, measured: Callable[[dict[str, Any]], list[float]]
) -> None:
    """What a probe measured over steps: the median over seeds, of the arms that trained."""
    for arm, (color, dash) in zip(found["report"]["arms"], _styles(), strict=False):
        jobs = [cell["job"] for cell in found["cells"] if cell["arm"] == arm["number"]]
        probes = [found["probes"][job][probe] for job in jobs if _succeeded(found, job)]
        rows = [measured(each) for each in probes if each["step"]]
        if not rows or not any(rows) or arm["divergence"]["count"]:
            continue
        axes.plot(
            probes[0]["step"], np.median(np.array(rows), axis=0), color=color, linestyle=dash, label=_short(arm)
        )
    _finish(axes, title, "Steps")
    if title.startswith(("range", "jitter")):
        axes.set_yscale("log")
    _name(axes)


def _succeeded(found: dict[str, Any], job: str) -> bool:
    """Whether the job has ended well."""
    return any(cell["job"] == job and cell["status"] == "succeeded" for cell in found["cells"])


def _finals(axes: Axes, found: dict[str, Any]) -> None:
    """The metric at the end, a dot for each run."""
    report = found["report"]
    metric, arms = report["selection"]["metric"], report["arms"]
    for row, arm in enumerate(arms):
        values = [cell["value"] for cell in found["cells"] if cell["arm"] == arm["number"]]
        numbers = [value for value in values if isinstance(value, float)]
        axes.plot(numbers, [row] * len(numbers), "o", color=COLORS[0], alpha=0.6)
    axes.set_yticks(range(len(arms)), [_short(arm) for arm in arms], fontsize=8)
    axes.invert_yaxis()
    _finish(axes, "", f"{metric}, at the end")


def _family(arm: Arm, path: str) -> str:
    named = str(arm["coordinates"].get("arm", "")).partition(",")[0]
    others = [named] if named and not named.startswith("batch") else []
    for key, value in arm["config"].items():
        is_told = key == path or key in FOLLOWS or key.startswith(("architecture", "dataset", "evaluate"))
        if not is_told and value is not None:
            others.append(str(value).partition(" (")[0])
    if path != "architecture.init.std" and "architecture.init.std" in arm["config"]:
        others.append(f"std {arm['config']['architecture.init.std']}")
    return ", ".join(dict.fromkeys(others)) or "all"


def _styles() -> Sequence[tuple[str, str]]:
    return [(color, dash) for dash in DASHES for color in COLORS]


def _short(arm: Arm) -> str:
    name = str(arm["name"]).removeprefix("norm ")
    return name if len(name) < 46 else f"{name[:44]}..."


def _name(axes: Axes) -> None:
    """The legend, beside the lines and not over them."""
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.02))


def _finish(axes: Axes, y: str, x: str, ticks: Sequence[float] = ()) -> None:
    """Labels and a light frame; with `ticks` a logarithmic axis that has just these."""
    axes.set(xlabel=x, ylabel=y)
    if ticks:
        axes.set_xscale("log")
        axes.set_xticks(list(ticks), [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
