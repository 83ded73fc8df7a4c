"""What rules make of particular evidence: chunks, correlated positions, jobs that go on."""

from math import sqrt

import numpy as np
import pytest

from db.spec.lints.base import Severity
from tests.worker.diagnosis.support import CHANNELS, found, make_evidence, status
from worker.batch_means import BATCHES
from worker.diagnosis import batches, drift
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.drift import average_weight
from worker.diagnosis.findings import CheckStatus
from worker.window import WINDOW

CNN = {"name": "cnn", "channels": [CHANNELS, CHANNELS]}


def test_noise_that_a_healthy_average_has_is_no_drift():
    # At batch 2 chance alone gives delta a standard deviation of 0.16 (momentum 0.1): 0.4 is three of them.
    drift = {"drift.delta": 0.4, "drift.rho": 0.5}
    assert found(make_evidence(evaluation=drift, batch_size=2), "statistics_drift") is None
    assert found(make_evidence(evaluation=drift, batch_size=64), "statistics_drift") is not None


def test_the_last_evaluation_goes_before_the_last_recorded_step():
    evidence = make_evidence(evaluation={"drift.delta": 0.01}, columns={"drift.delta": 3.0})
    assert found(evidence, "statistics_drift") is None
    assert found(make_evidence(columns={"drift.delta": 3.0}), "statistics_drift") is not None


def test_positions_that_are_alike_count_as_few_values():
    # 64 positions a sample make 2048 values of a channel; the batches' noise shows 16 independent ones.
    drift = {"drift.delta": 0.17}
    assert found(make_evidence(evaluation=drift, architecture=CNN), "statistics_drift") is not None
    noisy = drift | {"noise.job": 0.24}
    assert found(make_evidence(evaluation=noisy, architecture=CNN), "statistics_drift") is None


@pytest.mark.parametrize(("momentum", "weight"), [(0.1, 0.1 / 1.9), (1.0, 1.0), (None, 1 / 1000)])
def test_the_weight_of_an_average_is_the_variance_that_it_leaves(momentum, weight):
    evidence = make_evidence(norm={"name": "batch", "momentum": momentum}, step=1000)
    assert average_weight(evidence) == pytest.approx(weight)
    steps = np.arange(1000)
    weights = np.full(1000, 1 / 1000) if momentum is None else momentum * (1 - momentum) ** steps
    assert average_weight(evidence) == pytest.approx((weights**2).sum())


def test_the_noise_of_chunks_is_taken_as_it_is_recorded():
    ghost = {"norm": {"name": "ghost_batch", "size": 8}, "batch_size": 32}
    for numbers in ({"evaluation": {"noise.job": 0.3}}, {"columns": {"noise.mean": 0.3}}):
        finding = found(make_evidence(**numbers, **ghost), "statistic_noise")
        assert finding.evidence["noise"] == pytest.approx(0.3)
        assert "norm.size" in finding.advice
    assert found(make_evidence(evaluation={"noise.job": 0.2}, **ghost), "statistic_noise") is None


def test_few_batches_need_a_larger_ratio():
    noise = {"noise.job": 0.1 * sqrt(2.5), "noise.shuffled": 0.1}
    assert found(make_evidence(evaluation=noise, batch_size=32), "non_iid_batches") is not None
    assert found(make_evidence(evaluation=noise, batch_size=400), "non_iid_batches") is None


def test_batches_that_the_job_asks_for_are_named():
    noise = {"noise.job": 0.4, "noise.shuffled": 0.1}
    dataset = {"name": "digits", "classes_per_batch": 2}
    finding = found(make_evidence(evaluation=noise, dataset=dataset), "non_iid_batches")
    assert "classes_per_batch is 2" in finding.explanation


@pytest.mark.parametrize(("shuffled", "is_found"), [(0.1, True), (0.4, False)])
def test_training_batches_count_where_they_are_no_random_samples(shuffled, is_found):
    metrics = {f"gap/{name}/accuracy": 0.6 for name in ("eval_mode", "train_mode", "precise")}
    evidence = make_evidence(
        metrics=metrics, evaluation={"noise.job": 0.4, "noise.shuffled": shuffled}, train_batches=(512, 0.9)
    )
    finding = found(evidence, "batch_dependence")
    assert (finding is not None) is is_found
    if finding is not None:
        assert finding.because_of == "non_iid_batches"


def test_averages_of_a_job_that_is_long_enough_are_only_young():
    young = {"norm": {"name": "batch", "momentum": 0.01}, "step": 100, "steps": 1000}
    assert found(make_evidence(final=False, **young), "init_residue").severity is Severity.INFO
    assert found(make_evidence(final=True, **young), "init_residue").severity is Severity.BAD


def test_averages_stop_where_they_are_frozen():
    norm = {"name": "batch", "momentum": 0.1, "freeze_after": 10}
    finding = found(make_evidence(norm=norm, step=1000), "init_residue")
    assert finding.evidence["updates"] == 10
    assert finding.evidence["residue"] == pytest.approx(0.9**10)


def test_a_variance_that_is_kept_as_a_deviation_overflows_too():
    norm = {"name": "batch_renorm"}
    for std, is_found in ((99.0, False), (101.0, True)):
        evidence = make_evidence(norm=norm, columns={"eval.std": std}, evaluation={"population.std": 1.0})
        assert (found(evidence, "variance_overflow") is not None) is is_found


@pytest.mark.parametrize("moments", [{"population.var": 0.0}, {"population.std": 0.0}, {}])
def test_a_channel_that_does_not_vary_is_left_out_of_drift_and_noise(moments):
    first = np.arange(CHANNELS) == 0
    numbers = ("drift.delta", "drift.rho", "noise.job", "noise.shuffled")
    evaluation = {name: np.where(first, np.inf, 0.01) for name in numbers}
    evaluation |= {name: np.where(first, value, 1.0) for name, value in moments.items()}
    found_codes = {finding.code for finding in diagnose(make_evidence(evaluation=evaluation)).findings}
    assert found_codes & {"statistics_drift", "statistic_noise", "non_iid_batches"} == set()
    known_to_vary = evaluation | {"population.var": 1.0}
    assert found(make_evidence(evaluation=known_to_vary), "statistics_drift").severity is Severity.BAD


def test_averages_that_weigh_all_batches_the_same_are_named_as_slow():
    evidence = make_evidence(evaluation={"drift.delta": 1.0}, norm={"name": "batch", "momentum": None})
    assert "null, which weighs the first batches as much" in found(evidence, "statistics_drift").advice


def test_a_channel_that_died_lately_or_has_not_moved_yet_is_no_overflow():
    population = np.where(np.arange(CHANNELS) == 0, 1e-12, 0.5)
    died = make_evidence(columns={"eval.var": 5.0}, evaluation={"population.var": population})
    assert found(died, "variance_overflow") is None
    initial = make_evidence(columns={"eval.var": 1.0}, evaluation={"population.var": 1e-9})
    assert found(initial, "variance_overflow") is None


@pytest.mark.parametrize(
    ("norm", "said", "not_said"),
    [
        ({"name": "frozen_batch"}, "Take norm 'batch'", "recalibrate"),
        ({"name": "batch", "freeze_after": 10}, "recalibrate", "Take norm"),
    ],
)
def test_advice_on_frozen_statistics_is_what_the_norm_can_do(norm, said, not_said):
    advice = found(make_evidence(columns={"drift.delta": 3.0}, norm=norm), "frozen_shift").advice
    assert said in advice
    assert not_said not in advice


@pytest.mark.parametrize("use_buffers", [True, False])
def test_averaged_weights_are_to_have_statistics_of_their_own(use_buffers):
    evidence = make_evidence(evaluation={"ema.delta": 3.0}, ema={"decay": 0.9, "use_buffers": use_buffers})
    advice = found(evidence, "ema_statistics").advice
    assert '{"weights": "ema"}' in advice
    assert "use_buffers" not in advice


def test_a_deviation_that_holds_eps_shows_a_constant_channel_too():
    # Batch renormalization keeps sqrt(variance + eps), eps 1e-3: constant is below a variance of 1e-2.
    for variance, is_found in ((0.0, True), (0.0099, True), (0.0101, False)):
        std = np.where(np.arange(CHANNELS) == 0, sqrt(variance + 1e-3), 1.0)
        evidence = make_evidence(norm={"name": "batch_renorm"}, columns={"eval.std": std})
        assert (found(evidence, "constant_channel") is not None) is is_found


def test_a_running_variance_that_is_not_finite_needs_no_population():
    finding = found(make_evidence(columns={"eval.var": rows_with(np.inf)}), "variance_overflow")
    assert finding.severity is Severity.BAD
    assert status(make_evidence(columns={"eval.var": 1e9}), "variance_overflow") is CheckStatus.NOT_CHECKED


def rows_with(value):
    """One channel of eight has the value, the others 1."""
    return np.array([value, *[1.0] * (CHANNELS - 1)])


def test_scales_are_judged_beside_one_that_is_no_number():
    scales = rows_with(np.nan)
    scales[1] = 1e-6
    evidence = make_evidence(columns={"affine.gamma": scales})
    assert found(evidence, "scale_not_finite").evidence["share"] == pytest.approx(1 / 8)
    assert found(evidence, "scale_near_zero").evidence["share"] == pytest.approx(1 / 8)


def test_precise_statistics_that_gain_three_points_on_a_thousand_samples_are_named():
    metrics = {"gap/eval_mode/accuracy": 0.60, "gap/precise/accuracy": 0.63}
    samples = {"evaluate": {"train_samples": 1000}}
    assert found(make_evidence(metrics=metrics, **samples), "precise_gap") is not None
    less = metrics | {"gap/precise/accuracy": 0.62}
    assert found(make_evidence(metrics=less, **samples), "precise_gap") is None


def test_counts_that_a_diagnosis_knows_are_those_of_the_worker():
    assert (batches.DRAWN, drift.WINDOW) == (BATCHES, WINDOW)


def test_chance_hardly_passes_for_batches_that_belong_together():
    # 16 batches either way, however many more there are.
    assert batches.iid_limit(make_evidence(batch_size=8)) == pytest.approx(1 + 2 * sqrt(4 / 15))
    means = np.random.default_rng(0).normal(size=(2, 2000, 16)).var(axis=-1, ddof=1)
    assert (means[0] / means[1] > batches.iid_limit(make_evidence(batch_size=8))).mean() < 0.1


def test_channels_that_only_round_are_not_shifted():
    shifted = np.where(np.arange(CHANNELS) == 0, 5.0, 0.01)
    constant = np.where(np.arange(CHANNELS) == 0, 1e-12, 1.0)
    evaluation = {"test.delta": shifted}
    assert found(make_evidence(evaluation=evaluation), "test_shift") is not None
    columns = {"train.mean": 1.0, "train.var": constant}
    assert found(make_evidence(evaluation=evaluation, columns=columns), "test_shift") is None


def test_a_shift_of_the_test_data_explains_a_gap_to_it():
    metrics = {f"gap/{name}/accuracy": 0.9 for name in ("eval_mode", "train_mode", "precise")}
    evidence = make_evidence(metrics=metrics | {"test/accuracy": 0.6}, evaluation={"test.delta": 0.4})
    finding = found(evidence, "generalization_gap")
    assert (finding.because_of, finding.severity) == ("test_shift", Severity.WARN)


def test_a_regression_is_judged_by_r2():
    values = {"eval_mode": -3.0, "train_mode": 0.9, "precise": 0.9}
    metrics = {f"gap/{name}/r2": value for name, value in values.items()}
    evidence = make_evidence(metrics=metrics, dataset={"name": "gaussian_linear"})
    assert found(evidence, "stale_statistics").severity is Severity.BAD


def test_what_the_spec_warns_of_is_a_finding_with_its_field():
    finding = found(make_evidence(batch_size=2), "two_values_per_channel")
    assert "/batch_size" in finding.advice


def test_explanations_name_the_sites_and_count_the_rest():
    evidence = make_evidence(
        columns={"activation.saturated": 0.9}, architecture={"name": "mlp", "hidden": [CHANNELS] * 6}
    )
    assert "norm1, norm2, norm3, norm4 and 2 more" in found(evidence, "saturated_units").explanation


def test_a_diagnosis_leaves_the_evidence_as_it_was():
    evidence = make_evidence(columns={"activation.zero": 1.0}, evaluation={"test.delta": -0.5})
    first, second = diagnose(evidence), diagnose(evidence)
    assert first == second
    assert (evidence.sites[0].evaluation["test.delta"] == -0.5).all()
