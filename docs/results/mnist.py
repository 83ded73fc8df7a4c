"""Figure 1 of Ioffe & Szegedy (2015, arXiv 1502.03167) from two jobs of a running service.

    python docs/results/mnist.py --url http://127.0.0.1:8000

Submits the same network without and with batch normalization, waits for both, draws three pictures next to this
file and prints the numbers of mnist.md. `--job-none` and `--job-batch` draw again from jobs that have ended;
`--seeds 0 1 2 --lr 0.1` leaves the pictures alone and compares short jobs.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]
#: Steps, and percentiles of what enters the sigmoids: (percentiles, records, units).
Bands = tuple[Array, Array]

SITE, UNITS, PERCENTILES = "norm3", 100, ("15", "50", "85")
#: Records of one rolling median: 60 images estimate a percentile poorly. The first stands at step 600.
WINDOW = 11
#: Vermilion and blue of Okabe and Ito, which any colour vision tells apart; the dashes serve print.
STYLES: dict[str, dict[str, Any]] = {
    "none": {"color": "#D55E00", "linestyle": "--", "label": "Without normalization"},
    "batch": {"color": "#0072B2", "linestyle": "-", "label": "With batch normalization"},
}
PALE = {"none": "#F2CFB8", "batch": "#B8D5E8"}
GAP = [f"gap/{mode}/{kind}" for mode in ("eval_mode", "train_mode", "precise") for kind in ("accuracy", "loss")]


def job(norm: str, lr: float, seed: int = 0, steps: int = 50_000, evaluate_every: int = 500) -> dict[str, Any]:
    """The job of section 4.1 of the paper; mnist.md says which values are not the paper's."""
    init = {"name": "normal", "std": 0.1}
    return {
        "name": f"Figure 1, norm {norm}, lr {lr}, seed {seed}",
        "dataset": {"name": "mnist", "binarize": True},
        "architecture": {"name": "mlp", "hidden": [100, 100, 100], "activation": "sigmoid", "init": init},
        "norm": {"name": norm},
        "optimizer": {"name": "SGD", "lr": lr},
        "batch_size": 60,
        "steps": steps,
        "seed": seed,
        "evaluate": {"every": evaluate_every},
        "statistics": {"every": 100, "percentiles": [15, 50, 85], "units": {SITE: list(range(UNITS))}},
    }


class Service(httpx2.Client):
    """A client with the few requests that this needs."""

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        response = self.request(method, path, **arguments)
        if response.is_error:
            sys.exit(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    def _pages(self, path: str, **query: str) -> list[Any]:
        pages = [self._ask("GET", path, params=query)]
        while pages[-1]["more"]:
            pages.append(self._ask("GET", path, params={**query, "after": pages[-1]["cursor"]}))
        return pages

    def submit(self, spec: dict[str, Any]) -> str:
        id = str(self._ask("POST", "/jobs", json=spec)["id"])
        print(f"{id}: {spec['name']}")
        return id

    def wait(self, *ids: str) -> None:
        for id in ids:
            while (found := self._ask("GET", f"/jobs/{id}"))["finished_at"] is None:
                time.sleep(1)
            if found["status"] != "succeeded":
                sys.exit(f"Job {id} {found['status']}: {found['failure']}")

    def metric(self, id: str, name: str) -> tuple[Array, Array]:
        pages = [page["series"][name] for page in self._pages(f"/jobs/{id}/metrics", names=name)]
        steps, values = (np.concatenate([page[key] for page in pages]) for key in ("step", "value"))
        return steps, values

    def percentiles(self, id: str) -> Bands:
        pages = [page["sites"][SITE] for page in self._pages(f"/jobs/{id}/statistics", site=SITE)]
        values = [np.concatenate([page["percentiles"][name] for page in pages]) for name in PERCENTILES]
        return np.concatenate([page["step"] for page in pages]), np.stack(values)


def rolling_median(steps: Array, percentiles: Array) -> Bands:
    """Over `WINDOW` records, at the middle record of each window."""
    windows = np.lib.stride_tricks.sliding_window_view(percentiles, WINDOW, axis=1)
    return steps[WINDOW // 2 : -(WINDOW // 2)], np.median(windows, axis=-1)


def judge(steps: Array, percentiles: Array, from_step: int = 0) -> tuple[Array, Array, Array]:
    """For each unit: greatest over least width of its band; way and span of the median, both in mean widths."""
    low, middle, high = percentiles[:, steps >= from_step]
    width, way = high - low, np.abs(np.diff(middle, axis=0)).sum(axis=0)
    return width.max(0) / width.min(0), way / width.mean(0), np.ptp(middle, axis=0) / width.mean(0)


def steps_to(accuracy: float, steps: Array, values: Array) -> float:
    return float(min(steps[values >= accuracy], default=np.inf))  # the first evaluation that reached it


def new_axes(title: str) -> Axes:
    _, axes = plt.subplots(figsize=(8, 14 / 3), dpi=150, layout="constrained")  # 1200 x 700 pixels
    axes.set_title(title, loc="left", fontsize=11.5)
    axes.set(xlabel="Training steps (mini-batches of 60 images)", xlim=(0, 50_000))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save(axes: Axes, name: str, **legend: Any) -> None:
    axes.legend(frameon=False, loc="lower right", ncols=2, **legend)
    plt.savefig(path := Path(__file__).with_name(name))
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the size


def draw_accuracy(curves: dict[str, tuple[Array, Array]]) -> None:
    """Test accuracy against steps: the paper's Figure 1a."""
    none, batch = (steps_to(0.9, *curves[norm]) for norm in STYLES)
    axes = new_axes(f"90 % test accuracy takes {batch:,.0f} steps with batch normalization, {none:,.0f} without")
    for norm, (steps, values) in curves.items():
        axes.plot(steps, 100 * values, linewidth=1.8, **STYLES[norm])
    axes.set(ylabel="Test accuracy (%), axis cut at 80 %", ylim=(80, 100), yticks=range(80, 101, 5))
    save(axes, "mnist-accuracy.png")


def draw_bands(norm: str, unit: int, raw: Bands, smooth: Bands, limits: tuple[float, float]) -> None:
    """Percentiles of one unit's input against steps: the paper's Figure 1b or 1c."""
    label, color = STYLES[norm]["label"], STYLES[norm]["color"]
    axes = new_axes(f"{label}, the band of unit {unit} changes its width {judge(*smooth)[0][unit]:.1f}-fold")
    for row, name in enumerate(PERCENTILES):
        one = axes.plot(raw[0], raw[1][row, :, unit], color=PALE[norm], linewidth=0.7)
        many = axes.plot(smooth[0], smooth[1][row, :, unit], color=color, linewidth=1.8)
        axes.annotate(f"{name}th", (50_500, smooth[1][row, -1, unit]), va="center", annotation_clip=False)
    axes.set(ylabel="Percentiles of the sigmoid's input (no unit)", ylim=limits)
    save(axes, f"mnist-percentiles-{norm}.png", handles=one + many, labels=["one batch", f"median of {WINDOW}"])


def redo_figure(service: Service, ids: dict[str, str]) -> None:
    service.wait(*ids.values())
    curves = {norm: service.metric(id, "test/accuracy") for norm, id in ids.items()}
    raw = {norm: service.percentiles(id) for norm, id in ids.items()}
    # What 60 images would show of units whose input is normal and never changes: the noise of the method.
    still = np.random.default_rng(0).standard_normal((len(raw["none"][0]), 60, UNITS))
    raw["still"] = raw["none"][0], np.percentile(still, [15, 50, 85], axis=1)
    raw["still, normalized"] = raw["none"][0], (raw["still"][1] - still.mean(axis=1)) / still.std(axis=1)
    smooth = {name: rolling_median(*bands) for name, bands in raw.items()}
    draw_accuracy(curves)
    # The typical unit: its change of width is the median of all units, the lower of the middle two.
    units = {norm: int(np.argsort(judge(*smooth[norm])[0])[(UNITS - 1) // 2]) for norm in ids}
    drawn = np.stack([raw[norm][1][..., unit] for norm, unit in units.items()])
    margin = 0.1 * np.ptp(drawn)  # one range for both pictures: all that either shows, and a tenth on each side
    for norm, unit in units.items():
        draw_bands(norm, unit, raw[norm], smooth[norm], (drawn.min() - margin, drawn.max() + margin))
    for norm, (steps, values) in curves.items():
        reached = ", ".join(f"{level:.0%} at {steps_to(level, steps, values):,.0f}" for level in (0.9, 0.95))
        print(f"{norm}: {reached}; last {values[-1]:.2%}, best {values.max():.2%}")
        print("  ", ", ".join(f"{name} {service.metric(ids[norm], name)[1][-1]:.4f}" for name in GAP))
    for name, bands in smooth.items():
        for first in (600, 2000):
            ratio, way, span = (np.median(numbers) for numbers in judge(*bands, first))
            print(f"{name}, from step {first}: width {ratio:.2f}x, way {way:.2f}, span {span:.2f}")


def compare_seeds(service: Service, seeds: list[int], lr: float) -> None:
    ids = {(norm, seed): service.submit(job(norm, lr, seed, 5000, 50)) for seed in seeds for norm in STYLES}
    service.wait(*ids.values())
    for (norm, seed), id in ids.items():
        reached = [steps_to(level, *service.metric(id, "test/accuracy")) for level in (0.9, 0.95)]
        print(f"seed {seed}, lr {lr}, {norm}: 90 % at {reached[0]:,.0f}, 95 % at {reached[1]:,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--job-none", help="id of an ended job without normalization")
    parser.add_argument("--job-batch", help="id of an ended job with batch normalization")
    parser.add_argument("--seeds", type=int, nargs="+", help="compare short jobs of these seeds instead")
    parser.add_argument("--lr", type=float, default=0.1)
    options = parser.parse_args()
    plt.switch_backend("agg")
    service = Service(base_url=f"{options.url.rstrip('/')}/v1", timeout=60)
    if options.seeds:
        return compare_seeds(service, options.seeds, options.lr)
    given = {"none": options.job_none, "batch": options.job_batch}
    redo_figure(service, {norm: id or service.submit(job(norm, options.lr)) for norm, id in given.items()})


if __name__ == "__main__":
    main()
