"""Probes leave no trace: a run with them is the run without them, bit for bit."""

import copy

import numpy as np
import pytest
import torch

from tests.worker.networks import SMALL, noise_images, small_network
from tests.worker.support import CPU, Kept, assert_same_state, full_state, make_run, trained
from worker.assembly import make_run as make_run_of
from worker.objective import Classification
from worker.probes.base import Probes, State
from worker.probes.covariate_shift import CovariateShift
from worker.probes.folds import folds
from worker.probes.geometry import Geometry
from worker.probes.landscape import Landscape
from worker.trainer import train

EVERY = [
    {"name": "landscape", "every": 1, "points": 2},
    {"name": "covariate_shift", "every": 1},
    {"name": "geometry", "every": 1, "samples": 8, "batches": 2},
]
RELU = {"name": "mlp", "hidden": [16, 8], "activation": "relu", "dropout": 0.2}

#: Every way in which a forward pass in train mode draws numbers, or leaves something behind.
LEAVES_TRACES = [
    ("mlp", "none"),
    ("mlp", "batch"),
    ("mlp", "noisy_batch"),
    ("mlp", "batch_renorm"),
    ("mlp", "ghost_batch"),
    ("mlp", "spectral"),
    ("mlp", "weight"),
    ("mlp", "weight_standardization"),
    ("mlp", "evonorm_b0"),
    ("resnet", "lp_batch"),
    ("resnet", "skip_init"),
    ("lstm", "batch"),
    ("transformer", "layer"),
]


@pytest.fixture(scope="module")
def images():
    return noise_images()


def probes_of(architecture: str, norm: str):
    """Those that the network can have: geometry is of ReLUs."""
    relu = architecture in ("mlp", "resnet") and norm != "evonorm_b0"
    return EVERY if relu else EVERY[:2]


def spec_of(architecture: str, norm: str, **changes):
    spec = small_network(architecture, norm).to_json()
    if architecture == "mlp":
        spec["architecture"] = RELU
    values = {"steps": 3, "optimizer": {"name": "SGD", "lr": 0.01, "accumulate": 2}} | changes
    return type(small_network("mlp", "none")).model_validate({**spec, **values}).resolved()


@pytest.mark.parametrize(("architecture", "norm"), LEAVES_TRACES)
def test_a_run_with_probes_ends_with_the_same_bits(images, architecture, norm):
    ends, rows = [], {}
    for probes in ([], probes_of(architecture, norm)):
        run, reporter = make_run_of(spec_of(architecture, norm, probes=probes), images, CPU), Kept()
        assert train(run, reporter, lambda: None) is None
        ends.append((full_state(run.model), run.optimizer.state_dict(), reporter.series("train/loss").tobytes()))
        rows = reporter.probes
    assert_same_state(ends[0][0], ends[1][0])
    assert ends[0][1]["param_groups"] == ends[1][1]["param_groups"]
    assert ends[0][2] == ends[1][2]
    assert set(rows) == {probe["name"] for probe in probes_of(architecture, norm)}
    for name, measured in rows.items():
        assert [step for step, _ in measured] == [1, 2, 3]
        found = {key for _, values in measured for key, value in values.items() if not np.isfinite(value)}
        # The scalars of SkipInit begin at 0: at first no gradient reaches a branch, and 0 has no direction.
        assert all(norm == "skip_init" and key.endswith("/cosine") for key in found), (name, found)
        assert all(values["seconds"] > 0 for _, values in measured)


def state_of(run, copied=None) -> State:
    inputs, targets = run.data.train.batch(torch.arange(32))
    return State(
        before=copied if copied is not None else copy.deepcopy(run.model),
        after=run.model,
        inputs=inputs,
        targets=targets,
        lr=0.1,
        objective=run.objective,
    )


def all_probes(run):
    return [
        Landscape(every=1, low=0.5, high=4.0, points=3, largest_step=None),
        CovariateShift(every=1),
        Geometry(
            every=1,
            radius=0.1,
            inputs=run.data.gap.batch(torch.arange(16))[0],
            batches=lambda: [run.data.train.batch(torch.arange(at, at + 8))[0] for at in (0, 8, 16)],
        ),
    ]


@pytest.mark.parametrize("norm", ["batch", "batch_renorm", "noisy_batch", "spectral"])
def test_a_probe_leaves_the_model_its_copy_and_the_generators_as_they_were(digits, norm):
    run = make_run(digits, architecture=RELU, norm={"name": norm}, steps=5)
    assert train(run, Kept(), lambda: None) is None
    run.model.train()
    state = state_of(run)
    before, of_copy = full_state(run.model), full_state(state.before)
    for probe in all_probes(run):
        probe.measure(state)
        assert_same_state(before, full_state(run.model))
        assert_same_state(of_copy, full_state(state.before))


@pytest.mark.parametrize("architecture", [RELU, {"name": "lstm", "hidden": [8]}], ids=["mlp", "lstm"])
def test_the_same_question_has_the_same_answer_and_scratch_that_is_not_finite_does_not_matter(
    digits, architecture
):
    run = make_run(digits, architecture=architecture, norm={"name": "batch"})
    run.model.train()
    for probe in all_probes(run):
        first = probe.measure(state_of(run))
        copied = copy.deepcopy(run.model)
        for name, values in copied.named_buffers():
            if "batch_" in name and values.is_floating_point():
                values.fill_(float("nan"))
        again = probe.measure(state_of(run, copied))
        np.testing.assert_equal(first, again)


def test_a_measurement_that_is_not_finite_is_recorded_and_no_error(digits):
    probe = {"name": "landscape", "every": 25, "low": 1e20, "high": 1e30, "largest_step": None}
    _, reporter = trained(digits, architecture=RELU, norm={"name": "none"}, probes=[probe])
    (_, first), (_, second) = reporter.probes["landscape"]
    assert not np.isfinite(first["loss_max"])
    assert np.isfinite(second["loss"])


def test_frozen_norms_and_averaged_weights_do_not_notice_either(digits):
    changes = {
        "steps": 6,
        "architecture": RELU,
        "norm": {"name": "batch", "freeze_after": 3},
        "ema": {"decay": 0.9},
    }
    runs = [trained(digits, probes=probes, **changes)[0] for probes in ([], EVERY)]
    assert_same_state(full_state(runs[0].model), full_state(runs[1].model))
    assert_same_state(full_state(runs[0].ema.model), full_state(runs[1].ema.model))


def test_only_steps_that_are_due_are_copied_and_measured(digits):
    probes = [{"name": "landscape", "every": 20}, {"name": "covariate_shift", "every": 30}]
    _, reporter = trained(digits, probes=probes)
    assert [step for step, _ in reporter.probes["landscape"]] == [20, 40]
    assert [step for step, _ in reporter.probes["covariate_shift"]] == [30]
    assert Probes().copy(10, torch.nn.Linear(1, 1)) is None


def test_rows_after_the_last_step_that_counts_are_not_told(digits):
    run = make_run(digits, architecture=RELU, norm={"name": "batch"})
    run.model.train()
    for last_step, told in ((None, [1, 2, 3]), (2, [1, 2])):
        probes = Probes([CovariateShift(every=1)])
        for step in (1, 2, 3):
            probes.measure(step, state_of(run))
        assert [row.step for row in probes.flush(last_step=last_step)] == told
        assert probes.flush() == []


def test_measurements_of_a_bfloat16_job_are_those_of_float32(digits):
    changes = {"steps": 1, "architecture": RELU, "probes": EVERY[:1], "norm": {"name": "batch"}}
    rows = [trained(digits, precision=name, **changes)[1].probes["landscape"] for name in ("float32", "bfloat16")]
    assert rows[0][0][1] | {"seconds": 0} == rows[1][0][1] | {"seconds": 0}


def test_parameters_that_are_not_learned_stay_out(digits):
    run = make_run(digits, architecture=RELU, norm={"name": "batch"})
    run.model.train()
    full = Landscape(every=1, low=0.5, high=1.0, points=2, largest_step=None).measure(state_of(run))
    for parameter in run.model.get_submodule("linear1").parameters():
        parameter.requires_grad_(False)
    part = Landscape(every=1, low=0.5, high=1.0, points=2, largest_step=None).measure(state_of(run))
    assert part["loss"] == full["loss"]
    assert part["gradient_norm"] < full["gradient_norm"]
    assert not any(key.startswith("linear1") for key in CovariateShift(every=1).measure(state_of(run)))


def test_every_network_has_folds_or_none_without_an_error(images):
    for architecture in SMALL:
        run = make_run_of(small_network(architecture, "none"), images, CPU)
        for fold in folds(run.model):
            assert fold.lengths().shape == fold.slopes().shape


def test_the_objective_is_what_training_minimizes(digits):
    run = make_run(digits, architecture=RELU, norm={"name": "none"})
    run.model.train()
    state = state_of(run)
    mean = Landscape(every=1, low=0.5, high=1.0, points=2, largest_step=None).measure(state)
    summed = State(**{**vars(state), "objective": Classification("sum"), "lr": 0.1 / 32})
    total = Landscape(every=1, low=0.5, high=1.0, points=2, largest_step=None).measure(summed)
    assert total["loss"] == pytest.approx(mean["loss"])
    assert total["loss_min"] == pytest.approx(mean["loss_min"], rel=1e-5)
    assert total["gradient_norm"] == pytest.approx(32 * mean["gradient_norm"], rel=1e-5)
