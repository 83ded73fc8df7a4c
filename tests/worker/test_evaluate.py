"""Evaluations: their names, their numbers, and that they leave no trace."""

import gc
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.memory import LARGE_BATCH
from models.norms.batch import BatchNorm
from tests.worker.support import assert_same_state, full_state, make_run, trained
from worker.data.batches import Samples
from worker.evaluate import Evaluator

TEST = {"test/loss", "test/accuracy"}


def names(*prefixes: str) -> set[str]:
    return {f"{prefix}/{key}" for prefix in prefixes for key in ("loss", "accuracy")}


EVAL = names("gap/eval_mode")
TRAIN = names("gap/train_mode", "gap/train_mode_large")
PRECISE = names("gap/precise", "test/precise")


def measure(model: nn.Module, samples: Samples, size: int | None = None) -> dict[str, float]:
    """Mean loss and accuracy by hand, batch by batch with the ragged tail dropped."""
    inputs = samples.inputs.float() * samples.scale
    size = size or len(samples)
    with torch.no_grad():
        logits = torch.cat([model(part) for part in inputs.split(size) if len(part) == size])
    targets = samples.targets[: len(logits)]
    accuracy = (logits.argmax(1) == targets).double().mean().item()
    return {"loss": F.cross_entropy(logits.double(), targets).item(), "accuracy": accuracy}


def assert_equal(found: dict[str, float], prefix: str, expected: dict[str, float]) -> None:
    assert found[f"{prefix}/accuracy"] == pytest.approx(expected["accuracy"], abs=1e-12)
    assert found[f"{prefix}/loss"] == pytest.approx(expected["loss"], rel=1e-5)


@pytest.fixture(scope="module")
def run(digits):
    """A network that has moved away from its beginning."""
    return trained(digits)[0]


def stock_copy(model: nn.Module) -> nn.Module:
    """The same network of torch's own layers."""
    layers = [
        nn.BatchNorm1d(layer.features) if isinstance(layer, BatchNorm) else layer for layer in model.children()
    ]
    stock = nn.Sequential(*layers)
    for layer, original in zip(stock, model.children(), strict=True):
        layer.load_state_dict(original.state_dict())
    return stock


def test_eval_mode_numbers_are_those_of_a_stock_network_on_the_running_averages(run):
    found = run.evaluator.evaluate().metrics
    stock = stock_copy(run.model).eval()
    assert_equal(found, "test", measure(stock, run.data.test))
    assert_equal(found, "gap/eval_mode", measure(stock, run.data.gap))


def test_train_mode_numbers_are_those_of_a_stock_network_on_batch_statistics(run):
    found = run.evaluator.evaluate().metrics
    stock = stock_copy(run.model).train()
    assert_equal(found, "gap/train_mode", measure(stock, run.data.gap, run.order.size))
    assert_equal(found, "gap/train_mode_large", measure(stock, run.data.gap, LARGE_BATCH))


def test_batch_statistics_of_noisy_batch_norm_are_measured_without_noise(digits):
    noisy, _ = trained(digits, norm={"name": "noisy_batch"}, steps=5)
    plain = make_run(digits)
    plain.model.load_state_dict(noisy.model.state_dict())
    assert noisy.evaluator.evaluate().metrics == plain.evaluator.evaluate().metrics


def test_precise_numbers_are_those_of_population_statistics_in_place_of_running_ones(digits):
    """With batches of the whole subset, statistics of the whole subset are the population's."""
    run, _ = trained(digits, batch_size=1437, steps=5)
    found = run.evaluator.evaluate().metrics
    stock = stock_copy(run.model)
    for layer in stock:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 1.0
    measure(stock.train(), run.data.gap)
    stock.eval()
    assert_equal(found, "gap/precise", measure(stock, run.data.gap))
    assert_equal(found, "test/precise", measure(stock, run.data.test))


@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_an_evaluation_leaves_everything_bit_identical(digits, norm, training):
    run, _ = trained(digits, norm={"name": norm}, steps=5)
    run.model.train(training)
    before = full_state(run.model)
    first = run.evaluator.evaluate().metrics
    assert_same_state(full_state(run.model), before)
    assert run.evaluator.evaluate().metrics == first


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ([], TEST),
        (["eval"], TEST | EVAL),
        (["train"], TEST | TRAIN),
        (["precise"], TEST | PRECISE),
        (["eval", "precise"], TEST | EVAL | PRECISE),
        (["eval", "train", "precise"], TEST | EVAL | TRAIN | PRECISE),
    ],
    ids=["nothing", "eval", "train", "precise", "eval and precise", "all"],
)
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_metrics_are_those_of_the_modes_that_are_asked_for(digits, norm, modes, expected):
    run = make_run(digits, norm={"name": norm}, evaluate={"modes": modes})
    found = run.evaluator.evaluate().metrics
    assert set(found) == expected
    assert all(math.isfinite(value) for value in found.values())


def test_the_modes_that_are_left_out_do_not_change_the_others(run):
    whole = run.evaluator.evaluate().metrics
    for modes in (["eval"], ["train"], ["precise"]):
        evaluator = Evaluator(run.model, run.data, run.objective, batch_size=run.order.size, modes=modes)
        some = evaluator.evaluate().metrics
        assert some == {name: whole[name] for name in some}


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("samples", "has_large"), [(LARGE_BATCH, True), (LARGE_BATCH - 1, False)])
def test_large_batches_are_measured_only_where_the_subset_holds_one(digits, norm, samples, has_large):
    run = make_run(digits, norm={"name": norm}, evaluate={"train_samples": samples})
    assert len(run.data.gap) == samples
    assert ("gap/train_mode_large/loss" in run.evaluator.evaluate().metrics) is has_large


def batches_of(evaluator: Evaluator, model: nn.Module) -> tuple[dict[str, float], set[int]]:
    """The metrics of an evaluation, and the sizes of the batches that went through the network."""
    sizes = set()
    with model.register_forward_pre_hook(lambda module, inputs: sizes.add(len(inputs[0]))):
        return evaluator.evaluate().metrics, sizes


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("eval_batch", "has_large"), [(LARGE_BATCH, True), (LARGE_BATCH - 1, False)])
def test_large_batches_are_measured_only_where_the_memory_allows_so_many_samples(
    digits, norm, eval_batch, has_large
):
    run = make_run(digits, norm={"name": norm})
    modes = ["eval", "train", "precise"]
    evaluator = Evaluator(run.model, run.data, run.objective, batch_size=32, modes=modes, eval_batch=eval_batch)
    found, sizes = batches_of(evaluator, run.model)
    assert set(found) == TEST | EVAL | PRECISE | {
        name for name in TRAIN if has_large or "train_mode_large" not in name
    }
    assert max(sizes) <= eval_batch


def test_a_wide_network_is_evaluated_in_batches_that_its_largest_layer_bounds(digits):
    # 2^18 values of each sample: 2^26 are 256 samples.
    run = make_run(
        digits,
        dataset={"name": "digits", "test_limit": 257},
        architecture={"name": "cnn", "channels": [4096], "kernel": 1},
        norm={"name": "none"},
        evaluate={"modes": ["train"], "train_samples": LARGE_BATCH},
    )
    found, sizes = batches_of(run.evaluator, run.model)
    assert max(sizes) == 257  # or one would be left alone
    assert "gap/train_mode_large/loss" not in found


@pytest.mark.parametrize("samples", range(1, 24))
@pytest.mark.parametrize("eval_batch", [2, 3, 10])
def test_no_batch_is_of_a_single_sample_unless_there_is_no_other(digits, samples, eval_batch):
    run = make_run(digits, dataset={"name": "digits", "test_limit": samples}, evaluate={"modes": []})
    evaluator = Evaluator(run.model, run.data, run.objective, batch_size=32, modes=[], eval_batch=eval_batch)
    _, sizes = batches_of(evaluator, run.model)
    assert min(sizes) >= min(2, samples)


def test_nothing_stays_behind_after_a_batch_of_an_evaluation(digits):
    """Small tensors that did would lie between the large ones of the next batches, and the heap would grow."""
    run = make_run(digits, norm={"name": "none"})
    alive = []

    def count(module, inputs):
        alive.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))

    evaluator = Evaluator(run.model, run.data, run.objective, batch_size=32, modes=[], eval_batch=36)
    with run.model.register_forward_pre_hook(count):
        evaluator.evaluate()
    assert len(alive) == 10
    assert len(set(alive[1:])) == 1


def test_a_net_without_norms_has_the_same_number_in_every_mode(digits):
    run, _ = trained(digits, norm={"name": "none"}, steps=20)
    found = run.evaluator.evaluate().metrics
    for key in ("loss", "accuracy"):
        gap = {found[name] for name in found if name.startswith("gap/") and name.endswith(key)}
        assert gap == {found[f"gap/eval_mode/{key}"]}
    stock = stock_copy(run.model).eval()
    assert_equal(found, "gap/eval_mode", measure(stock, run.data.gap))


PART = {"name": "digits", "validation_fraction": 0.2}


def test_a_validation_part_is_measured_in_eval_mode_on_the_running_averages(digits):
    run, _ = trained(digits, dataset=PART, steps=20)
    found = run.evaluator.evaluate().metrics
    assert_equal(found, "validation", measure(stock_copy(run.model).eval(), run.data.validation))
    without = Evaluator(
        run.model,
        replace(run.data, validation=None),
        run.objective,
        batch_size=run.order.size,
        modes=["eval", "train", "precise"],
    )
    assert set(found) - set(without.evaluate().metrics) == names("validation")


def test_what_is_found_at_sites_is_the_same_with_a_validation_part(digits):
    run, _ = trained(digits, dataset=PART, steps=20)
    found = run.evaluator.evaluate().sites
    run.evaluator._data = replace(run.data, validation=None)
    without = run.evaluator.evaluate().sites
    assert found.keys() == without.keys()
    for site, values in without.items():
        assert found[site].keys() == values.keys()
        assert all(np.array_equal(found[site][name], value) for name, value in values.items())


def test_a_network_without_a_finite_number_is_measured_all_the_same(digits):
    run = make_run(digits)
    with torch.no_grad():
        run.model.output.weight.fill_(math.nan)
    found = run.evaluator.evaluate().metrics
    assert np.isnan(found["test/loss"])
    assert 0 <= found["test/accuracy"] <= 1
