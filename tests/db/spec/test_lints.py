"""Lints about averages, biases, dropout and single samples: each fires where it should and nowhere else."""

import re

import pytest

from db.spec.lints.base import Severity
from db.spec.warnings import warnings
from tests.db.spec.test_warnings import found, spec_of


@pytest.mark.parametrize(
    ("samples", "norm", "is_found"), [(65, "batch", True), (66, "batch", False), (65, "layer", False)]
)
def test_a_last_batch_of_one_is_spoken_of_where_it_matters(samples, norm, is_found):
    changes = {"dataset": {"name": "digits", "train_limit": samples}, "norm": {"name": norm}}
    expected = {"single_sample_batch": "/batch_size"} if is_found else {}
    assert found(**changes) == expected
    assert spec_of(**changes).batches_per_epoch() == (2 if samples == 65 else 3)


def test_a_last_batch_of_one_is_one_of_the_samples_that_are_left():
    dataset = {"name": "digits", "train_limit": 100, "validation_fraction": 0.35}
    assert found(dataset=dataset) == {"single_sample_batch": "/batch_size"}


PART = {"name": "digits", "train_limit": 100, "validation_fraction": 0.2}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"early_stopping": {}}, "/dataset/validation_fraction"),
        ({"early_stopping": {"metric": "test/precise/loss"}}, "/dataset/validation_fraction"),
        ({"early_stopping": {"metric": "ema/test/loss"}, "ema": {"decay": 0.9}}, "/dataset/validation_fraction"),
        ({"early_stopping": {"metric": "test/loss"}, "dataset": PART}, "/early_stopping/metric"),
        ({"early_stopping": {}, "dataset": PART}, None),
        ({"early_stopping": {"metric": "gap/eval_mode/loss"}}, None),
        ({"checkpoint": {"keep_best": 3}}, None),
    ],
    ids=str,
)
def test_stopping_by_test_data_is_spoken_of(changes, pointer):
    assert found(**changes) == ({} if pointer is None else {"selects_on_test": pointer})


@pytest.mark.parametrize(
    ("momentum", "steps", "accumulate", "freeze_after", "severity"),
    [
        (0.1, 44, 1, None, None),
        (0.1, 43, 1, None, Severity.INFO),
        (0.01, 459, 1, None, None),
        (0.001, 1000, 1, None, Severity.WARN),
        (0.001, 1000, 5, None, None),
        (0.1, 1000, 1, 43, Severity.INFO),
        (None, 1, 1, None, None),
    ],
)
def test_averages_that_will_still_hold_what_they_began_with(momentum, steps, accumulate, freeze_after, severity):
    norm = {"name": "batch", "momentum": momentum, "freeze_after": freeze_after}
    spec = spec_of(norm=norm, steps=steps, optimizer={"name": "SGD", "accumulate": accumulate})
    severities = {warning.code: warning.severity for warning in warnings(spec)}
    assert severities.get("short_averages") == severity


def test_the_advised_momentum_is_enough():
    norm = {"name": "batch", "momentum": 0.001}
    (warning,) = warnings(spec_of(norm=norm, steps=100))
    advised = float(re.search(r"momentum ([0-9.]+) or more", warning.message).group(1))
    assert found(norm=norm | {"momentum": advised}, steps=100) == {}
    assert found(norm=norm | {"momentum": advised / 1.2}, steps=100) != {}


def test_chunks_of_ghost_batch_norm_move_the_averages_once_each():
    norm = {"name": "ghost_batch", "momentum": 0.1, "size": 16}
    assert found(norm=norm, batch_size=32, steps=22) == {}
    assert found(norm=norm, batch_size=32, steps=21) == {"short_averages": "/norm/momentum"}


@pytest.mark.parametrize(
    ("decay", "steps", "severity"),
    [(0.9, 45, None), (0.9, 44, Severity.INFO), (0.999, 300, Severity.WARN), (0.999, 4606, None)],
)
def test_averaged_weights_that_will_still_be_the_first_ones(decay, steps, severity):
    warned = {each.code: each for each in warnings(spec_of(ema={"decay": decay}, steps=steps))}
    assert ("short_ema" in warned) == (severity is not None)
    if severity:
        assert warned["short_ema"].severity == severity
        advised = float(re.search(r"decay ([0-9.]+) or less", warned["short_ema"].message).group(1))
        assert found(ema={"decay": advised}, steps=max(2, steps)) == {}


def test_averages_that_are_not_kept_cannot_be_short():
    assert found(norm={"name": "batch", "track": False}, steps=1) == {}


@pytest.mark.parametrize(("after", "is_found"), [(99, False), (100, True), (101, True)])
def test_norms_that_never_freeze(after, is_found):
    assert ("frozen_too_late" in found(norm={"name": "batch", "freeze_after": after}, steps=100)) is is_found


def declared(*layers, norm="batch"):
    changes = {"architecture": {"name": "sequential", "layers": [{"name": "flatten"}, *layers]}}
    return found(norm={"name": norm}, **changes)


NORM, OUTPUT = {"name": "norm"}, {"name": "linear", "units": 10}
LINEAR = {"name": "linear", "units": 16}


@pytest.mark.parametrize(("bias", "is_found"), [({"bias": True}, True), ({"bias": False}, False), ({}, False)])
def test_a_bias_that_is_asked_for_and_taken_away(bias, is_found):
    expected = {"bias_before_norm": "/architecture/layers/1/bias"} if is_found else {}
    assert declared(LINEAR | bias, NORM, OUTPUT) == expected
    assert declared(LINEAR | bias, NORM, OUTPUT, norm="layer") == {}
    assert declared(LINEAR | bias, {"name": "activation"}, NORM, OUTPUT) == {}


def test_a_bias_in_a_residual_block_is_found_too():
    block = {"name": "residual", "layers": [LINEAR | {"bias": True}, NORM]}
    expected = {"bias_before_norm": "/architecture/layers/2/layers/0/bias"}
    assert declared(LINEAR, block, OUTPUT) == expected


DROPOUT = {"name": "dropout", "p": 0.5}


def test_dropout_before_a_norm_with_averages_shifts_their_variance():
    assert declared(LINEAR, DROPOUT, NORM, OUTPUT) == {"dropout_before_norm": "/architecture/layers/2"}
    assert declared(LINEAR, NORM, DROPOUT, LINEAR, NORM, OUTPUT) == {
        "dropout_before_norm": "/architecture/layers/3"
    }
    assert declared(LINEAR, NORM, DROPOUT, OUTPUT) == {}
    assert declared(LINEAR, DROPOUT, NORM, OUTPUT, norm="layer") == {}
    assert declared(LINEAR, {"name": "dropout", "p": 0.0}, NORM, OUTPUT) == {}


def test_dropout_in_a_branch_does_not_stand_before_the_norm_of_its_shortcut():
    side = {"name": "residual", "layers": [LINEAR, DROPOUT], "shortcut": [LINEAR, NORM]}
    assert declared(LINEAR, side, OUTPUT) == {}
    assert declared(LINEAR, side, NORM, OUTPUT) == {"dropout_before_norm": "/architecture/layers/2/layers/1"}


def test_the_dropout_of_a_network_is_its_option():
    network = {"name": "mlp", "hidden": [8, 4], "dropout": 0.2}
    assert found(architecture=network) == {"dropout_before_norm": "/architecture/dropout"}
    assert found(architecture=network | {"hidden": [8]}) == {}
    assert found(architecture=network, norm={"name": "batch", "track": False}) == {}
