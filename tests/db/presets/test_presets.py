"""Every preset at every scale is an experiment that can be run, and compares what it says that it compares."""

import re
from functools import cache

import pytest

from db.experiments.arms import expand
from db.experiments.declaration import ARM, MOST_CELLS, Declaration
from db.experiments.paths import matches
from db.presets.table import PRESETS
from db.spec.job import JobSpec
from db.spec.selection import evaluated_metrics

NAMES = [
    "ioffe2015-mnist",
    "ioffe2015-learning-rate",
    "santurkar2018-noise",
    "santurkar2018-landscape",
    "santurkar2018-covariate-shift",
    "santurkar2018-lp",
    "balestriero2022-geometry",
    "wu2018-batch-size",
    "wu2021-precise",
    "ioffe2017-renorm",
    "hoffer2017-ghost",
    "placement",
    "depth",
    "regularization",
    "initialization",
    "recurrent",
    "schedulers",
]
SCALES = ["smoke", "quick", "full"]
#: Data that come with the service.
BUNDLED = {"digits", "gaussian_linear"}

each_preset = pytest.mark.parametrize("name", NAMES)
each_scale = pytest.mark.parametrize("scale", SCALES)


@cache
def declaration(name, scale):
    return Declaration.model_validate(PRESETS[name].scales[scale])


@cache
def arms(name, scale):
    """Each arm with its spec."""
    return [(arm, JobSpec.model_validate(arm.spec)) for arm in expand(declaration(name, scale)).arms]


def test_the_presets_are_those_of_the_list_in_its_order():
    assert list(PRESETS) == NAMES
    assert [preset.name for preset in PRESETS.values()] == NAMES


@each_preset
def test_a_preset_tells_its_source_what_was_reported_and_what_to_expect(name):
    preset = PRESETS[name]
    assert re.search(r"\(arXiv \d{4}\.\d{4,5}\)", preset.source)
    assert all(len(text.split()) > 20 for text in (preset.reported, preset.expected))
    assert list(preset.scales) == SCALES


@each_scale
@each_preset
def test_all_arms_are_valid_and_differ(name, scale):
    expansion = expand(declaration(name, scale))
    assert expansion.equal == 0
    assert 2 <= len(expansion.arms) * len(declaration(name, scale).seeds) <= MOST_CELLS


@each_scale
@each_preset
def test_the_baseline_is_some_of_the_arms(name, scale):
    pattern = declaration(name, scale).baseline
    of_baseline = [
        matches(spec.resolved().to_json() | {ARM: arm.coordinates.get(ARM)}, pattern)
        for arm, spec in arms(name, scale)
    ]
    assert any(of_baseline)
    assert not all(of_baseline)


@each_scale
@each_preset
def test_every_cell_evaluates_the_target_metric(name, scale):
    target = declaration(name, scale).target
    for arm, spec in arms(name, scale):
        assert target is None or target.metric in evaluated_metrics(spec), arm.name


@each_scale
@each_preset
def test_all_cells_are_of_one_task(name, scale):
    """One metric says which arm is the best."""
    assert len({spec.dataset.info.task for _, spec in arms(name, scale)}) == 1


@each_preset
def test_smoke_needs_no_data_but_what_comes_with_the_service(name):
    assert {str(spec.dataset.name) for _, spec in arms(name, "smoke")} <= BUNDLED


@each_preset
def test_quick_and_full_are_repeated(name):
    assert len(declaration(name, "quick").seeds) == 3
    assert len(declaration(name, "full").seeds) == 5
