"""What single presets vary, and what they hold."""

from math import isclose, log

import pytest

from db.spec.job import JobSpec
from tests.db.presets.test_presets import SCALES, arms


def by_arm(name, scale) -> dict[str, list[JobSpec]]:
    found: dict[str, list[JobSpec]] = {}
    for arm, spec in arms(name, scale):
        found.setdefault(arm.coordinates.get("arm"), []).append(spec)
    return found


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["wu2018-batch-size", "ioffe2017-renorm"])
def test_batch_sizes_see_as_many_samples_at_one_rate_per_sample(name, scale):
    of_network: dict[str, list[JobSpec]] = {}
    for _, spec in arms(name, scale):
        of_network.setdefault(spec.architecture.name, []).append(spec)
    for specs in of_network.values():
        assert len({spec.batch_size for spec in specs}) > 1
        samples = [spec.total_steps() * spec.batch_size for spec in specs]
        assert max(samples) - min(samples) < max(spec.batch_size for spec in specs)
        rates = [spec.optimizer.lr / spec.batch_size for spec in specs]
        assert isclose(min(rates), max(rates))


def test_inception_has_the_papers_rates_and_changes():
    specs = {name: only for name, (only,) in by_arm("ioffe2015-learning-rate", "full").items()}
    rates = {name: spec.optimizer.lr for name, spec in specs.items()}
    assert isclose(rates["BN-x5"] / rates["Inception"], 5)
    assert isclose(rates["BN-x30"] / rates["BN-Baseline"], 30)
    old, new = specs["BN, only the rate x5"], specs["BN-x5"]
    assert isclose(old.optimizer.weight_decay / new.optimizer.weight_decay, 5)
    assert isclose(log(new.scheduler.gamma) / log(old.scheduler.gamma), 6)
    assert (old.architecture.dropout, new.architecture.dropout) == (0.4, 0)


@pytest.mark.parametrize("scale", SCALES)
def test_each_change_of_the_recipe_is_alone_in_its_arm(scale):
    specs = {name: only.to_json() for name, (only,) in by_arm("ioffe2015-learning-rate", scale).items()}
    old = specs["BN, only the rate x5"]
    changed = {
        "BN, rate x5, no dropout": "architecture",
        "BN, rate x5, L2 / 5": "optimizer",
        "BN, rate x5, decay x6": "scheduler",
        "BN-Baseline": "optimizer",
        "Inception-x5 without LRN": "norm",
    }
    for name, part in changed.items():
        assert [key for key, value in specs[name].items() if value != old[key]] == [part]


def test_the_standard_setting_is_the_papers():
    specs = [spec for _, spec in arms("ioffe2015-mnist", "full")]
    assert {spec.steps for spec in specs} == {50_000}
    assert {spec.batch_size for spec in specs} == {60}
    assert {(spec.architecture.hidden, spec.architecture.activation) for spec in specs} == {
        ((100, 100, 100), "sigmoid")
    }
    assert all(spec.dataset.binarize for spec in specs)


@pytest.mark.parametrize("scale", SCALES)
def test_large_batches_see_the_same_epochs_and_at_last_the_same_steps(scale):
    specs = {name: only for name, (only,) in by_arm("hoffer2017-ghost", scale).items()}
    small, large = specs["small batch"], specs["large batch"]
    assert large.total_steps() * large.batch_size == small.total_steps() * small.batch_size
    long = specs["large batch, all of it, as many steps"]
    assert (long.total_steps(), long.batch_size) == (small.total_steps(), large.batch_size)
    assert long.norm.size == small.batch_size


def test_statistics_freeze_for_the_last_fifth():
    for name, (spec,) in by_arm("wu2021-precise", "quick").items():
        if "frozen" in name:
            assert spec.norm.freeze_after == 0.8 * spec.total_steps()
