"""Probes in a spec: what is refused, and what stands if nothing is said."""

import pytest

from tests.db.spec.test_rules import refusal
from tests.db.support import make_spec

RELU = {"name": "mlp", "hidden": [8, 4], "activation": "relu"}


def test_a_probe_has_defaults():
    (probe,) = make_spec(probes=[{"name": "landscape"}]).probes
    assert probe.model_dump() == {
        "name": "landscape",
        "every": 100,
        "low": 0.5,
        "high": 4.0,
        "points": 8,
        "largest_step": 0.4,
    }
    assert make_spec(probes=[{"name": "landscape", "largest_step": None}]).probes[0].largest_step is None


def test_a_probe_that_is_named_twice_is_refused():
    error = refusal(probes=[{"name": "landscape"}, {"name": "landscape", "every": 5}])
    assert (error["code"], error["pointer"]) == ("not_distinct", "/probes")


@pytest.mark.parametrize("high", [0.5, 0.1])
def test_an_empty_range_of_steps_is_refused(high):
    error = refusal(probes=[{"name": "covariate_shift"}, {"name": "landscape", "low": 0.5, "high": high}])
    assert (error["code"], error["pointer"]) == ("not_in_order", "/probes/1/high")


def test_geometry_is_refused_where_nothing_folds():
    sigmoid = {**RELU, "activation": "sigmoid"}
    error = refusal(architecture=sigmoid, probes=[{"name": "geometry"}])
    assert (error["code"], error["pointer"]) == ("nothing_to_measure", "/probes/0/name")
    assert "relu" in error["message"]
    assert make_spec(architecture=RELU, probes=[{"name": "geometry"}]).probes[0].samples == 256
