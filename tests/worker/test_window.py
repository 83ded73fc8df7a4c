"""Drift and noise of the last batches, against the same from everything that went through a norm."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.norms.batch import FrozenBatchNorm
from models.norms.ghost import GhostBatchNorm, chunk_sizes
from tests.worker.networks import small_network
from tests.worker.recording import Recording, by_channel
from worker.window import WINDOW, window_sums

FLOAT32 = {"rtol": 1e-4, "atol": 2e-5}
FLOAT64 = {"rtol": 1e-10, "atol": 1e-10}

RUNNING = [
    ("mlp", "batch", {}),
    ("cnn", "batch", {"momentum": None}),
    ("cnn", "noisy_batch", {}),
    ("mlp", "ghost_batch", {"size": 4}),
    ("cnn", "ghost_batch", {"size": 3, "momentum": None}),
    ("mlp", "batch_renorm", {}),
    ("cnn", "lp_batch", {"p": 2}),
    ("lstm", "batch", {}),
    ("transformer", "batch", {}),
]


def parts_of(norm: torch.nn.Module, x: Tensor) -> list[np.ndarray]:
    """The values of each part of a batch that is normalized by itself: (values, C)."""
    size = chunk_sizes(len(x), norm.size) if isinstance(norm, GhostBatchNorm) else len(x)
    return [by_channel(part) for part in x.split(size)]


def expected(norm: torch.nn.Module, window: list[Tensor], stored: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Drift and noise from the values of all batches of the window."""
    parts = [part for x in window for part in parts_of(norm, x)]
    values = np.concatenate(parts)
    mean, var = values.mean(axis=0), values.var(axis=0, ddof=1 if "var" in stored else 0)
    moments = {name: moment.double().numpy() for name, moment in stored.items()}
    if "std" in moments:
        moments["var"] = moments["std"] ** 2 - norm.eps
    elif "scale" in moments:  # p = 2, taken before the mean is subtracted
        moments["var"] = moments["scale"] ** 2 - moments["mean"] ** 2
    delta, rho = np.abs(moments["mean"] - mean) / np.sqrt(var), np.log(moments["var"] / var)
    steps = np.diff([part.mean(axis=0) for part in parts], axis=0)
    noise = np.sqrt((steps**2).mean(axis=0) / 2 / var) if len(parts) > 1 else np.full_like(mean, np.nan)
    return {
        "drift.delta": delta,
        "drift.rho": rho,
        "drift.kl": (np.exp(rho) + delta**2 - 1 - rho) / 2,
        "noise.mean": noise,
        "noise.effective_batch": 1 / noise**2,
    }


def assert_as_expected(recording: Recording, batches: list[int], close: dict[str, float]) -> None:
    """The rows at some steps; batches: how many batches there had been at the end of each."""
    rows = recording.flush()
    for name, norm in recording.norms.items():
        site = recording.sites[name]
        for row, end in enumerate(batches):
            window = recording.inputs[name][max(0, end - WINDOW) : end]
            stored = recording.stored[name][rows[name].steps[row] - 1]
            for time in range(site.time_steps or 1):
                of_time = {key: each if site.time_steps is None else each[time] for key, each in stored.items()}
                wanted = expected(norm, [inputs[time] for inputs in window], of_time)
                for column, values in wanted.items():
                    found = rows[name].moments[column][row]
                    found = found if site.time_steps is None else found[time]
                    np.testing.assert_allclose(found, values, **close, err_msg=f"{name} {column} {row}")


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, FLOAT32), (torch.float64, FLOAT64)], ids=str)
@pytest.mark.parametrize(("architecture", "norm", "options"), RUNNING, ids=str)
def test_drift_and_noise_are_those_of_the_last_batches_ragged_ones_too(architecture, norm, options, dtype, close):
    recording = Recording(small_network(architecture, norm, **options).blueprint(), dtype, every=19, steps=24)
    for step in range(1, 25):
        recording.step(step, recording.sample(6 + step % 4), recorded=step in (19, 24))
    assert_as_expected(recording, [19, 24], close)


@pytest.mark.parametrize(("architecture", "norm", "options"), [*RUNNING, ("cnn", "none", {})], ids=str)
def test_moments_are_those_of_each_part_by_its_values(architecture, norm, options):
    recording = Recording(small_network(architecture, norm, **options).blueprint(), torch.float64)
    for name, site in recording.steps([8, 5]).items():
        for row, steps in enumerate(recording.inputs[name]):
            for time, x in enumerate(steps):
                parts = parts_of(recording.norms[name], x)
                shares = np.array([len(part) for part in parts]) / sum(map(len, parts))
                found = {
                    column.removeprefix("train."): values[row] if len(steps) == 1 else values[row, time]
                    for column, values in site.moments.items()
                    if column.startswith("train.")
                }
                np.testing.assert_allclose(
                    found["mean"], shares @ [part.mean(axis=0) for part in parts], **FLOAT64
                )
                var = shares @ [part.var(axis=0) for part in parts]
                if "std" in found:
                    np.testing.assert_allclose(found["std"] ** 2 - recording.norms[name].eps, var, **FLOAT64)
                elif "scale" in found:
                    np.testing.assert_allclose(found["scale"] ** 2, var + found["mean"] ** 2, **FLOAT64)
                else:
                    np.testing.assert_allclose(found["var"], var, **FLOAT64)


@pytest.mark.parametrize("norm", ["batch", "ghost_batch"])
def test_a_window_of_accumulated_batches_begins_within_a_step(norm):
    recording = Recording(small_network("mlp", norm).blueprint(), torch.float64, every=7, steps=100, accumulate=3)
    for step in range(1, 15):
        recording.step(step, *(recording.sample(size) for size in (5, 9, 7)), recorded=step % 7 == 0)
    assert_as_expected(recording, [21, 42], FLOAT64)


def test_windows_of_neighbouring_steps_overlap_also_across_flushes():
    recording = Recording(small_network("mlp", "batch").blueprint(), torch.float64)
    for step in range(1, 30):
        recording.step(step, recording.sample(6))
    recording.flush()
    later = list(range(30, 40))
    for step in later:
        recording.step(step, recording.sample(7))
    assert_as_expected(recording, later, FLOAT64)


def test_a_first_batch_tells_no_noise():
    recording = Recording(small_network("mlp", "batch").blueprint())
    rows = recording.steps([8, 8])
    for site in rows.values():
        assert np.isnan(site.moments["noise.mean"][0]).all()
        assert np.isfinite(site.moments["noise.mean"][1]).all()
        assert np.isfinite(site.moments["drift.kl"]).all()


def test_chunks_of_one_batch_tell_noise():
    rows = Recording(small_network("mlp", "ghost_batch", size=4).blueprint()).steps([8])
    assert all(np.isfinite(site.moments["noise.mean"]).all() for site in rows.values())


@pytest.mark.parametrize("freeze_first", [False, True])
def test_frozen_statistics_are_compared_with_the_batches_that_come(freeze_first):
    recording = Recording(small_network("mlp", "batch").blueprint(), torch.float64)
    for step in range(1, 21):
        if freeze_first and step == 3:
            recording.averages.freeze()
        recording.step(step, recording.sample(8))
    if freeze_first:
        stored = recording.stored["norm1"]
        assert torch.equal(stored[2]["mean"], stored[-1]["mean"])
    assert_as_expected(recording, list(range(1, 21)), FLOAT64)


def test_fixed_statistics_are_compared_with_the_batch():
    recording = Recording(small_network("cnn", "frozen_batch").blueprint(), torch.float64)
    rows = recording.steps([8, 6])
    for name, norm in recording.norms.items():
        assert isinstance(norm, FrozenBatchNorm)
        for row, (x,) in enumerate(recording.inputs[name]):
            wanted = expected(norm, [x], recording.stored[name][row])
            for column in ("drift.delta", "drift.rho", "drift.kl"):
                np.testing.assert_allclose(rows[name].moments[column][row], wanted[column], **FLOAT64)
        assert not any(column.startswith("noise.") for column in rows[name].moments)


@pytest.mark.parametrize(
    ("norm", "options"), [("lp_batch", {"p": 1}), ("lp_batch", {"p": "inf"}), ("layer", {}), ("none", {})], ids=str
)
def test_without_a_variance_there_is_neither_drift_nor_noise(norm, options):
    for site in Recording(small_network("mlp", norm, **options).blueprint()).steps([8, 8]).values():
        assert not any(column.startswith(("drift.", "noise.")) for column in site.moments)


def test_a_norm_without_a_running_mean_has_no_delta():
    recording = Recording(small_network("cnn", "evonorm_b0").blueprint(), torch.float64)
    rows = recording.steps([8, 8, 6])
    for name, norm in recording.norms.items():
        values = np.concatenate([by_channel(x) for (x,) in recording.inputs[name]])
        stored = recording.stored[name][-1]["var"].numpy()
        found = rows[name].moments
        np.testing.assert_allclose(found["drift.rho"][-1], np.log(stored / values.var(axis=0, ddof=1)), **FLOAT64)
        means = np.diff([by_channel(x).mean(axis=0) for (x,) in recording.inputs[name]], axis=0)
        noise = np.sqrt((means**2).mean(axis=0) / 2 / values.var(axis=0, ddof=1))
        np.testing.assert_allclose(found["noise.mean"][-1], noise, **FLOAT64)
        assert "drift.delta" not in found
        assert "drift.kl" not in found
        assert "train.mean" not in found, norm


@pytest.mark.parametrize("width", [1, 2, 15, 16, 33])
@pytest.mark.parametrize("rows", [1, 2, 16, 40])
def test_window_sums_are_sums_of_the_last_rows(rows, width):
    x = torch.arange(rows, dtype=torch.float64)[:, None] ** 2
    wanted = torch.stack([x[max(0, end - width) : end].sum(0) for end in range(1, rows + 1)])
    assert torch.equal(window_sums(x, width), wanted)


def test_a_value_that_is_not_finite_leaves_later_windows_alone():
    x = torch.ones(40, 1)
    x[3] = torch.inf
    assert torch.isfinite(window_sums(x, 16)).flatten().tolist() == [not 3 <= row < 19 for row in range(40)]
