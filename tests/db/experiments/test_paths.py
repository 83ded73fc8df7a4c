"""Dotted paths into a spec."""

import pytest

from db.experiments.paths import MISSING, matches, value_at, with_values


def test_a_value_is_set_where_the_path_leads():
    spec = {"optimizer": {"name": "AdamW", "lr": 0.1}, "batch_size": 32}
    made = with_values(spec, {"optimizer.lr": 0.3, "batch_size": 64})
    assert made == {"optimizer": {"name": "AdamW", "lr": 0.3}, "batch_size": 64}
    assert spec["optimizer"]["lr"] == 0.1, "the spec that is given stays as it was"


def test_a_part_that_the_spec_leaves_out_is_the_default_one():
    assert with_values({}, {"optimizer.lr": 0.3}) == {"optimizer": {"name": "SGD", "lr": 0.3}}
    assert with_values({}, {"optimizer.name": "AdamW"}) == {"optimizer": {"name": "AdamW"}}


def test_a_whole_part_is_set_before_what_is_inside_it():
    values = {"norm.momentum": 0.01, "norm": {"name": "batch", "eps": 1e-3}}
    assert with_values({"norm": {"name": "layer"}}, values) == {
        "norm": {"name": "batch", "eps": 1e-3, "momentum": 0.01}
    }


def test_a_bare_name_stands_for_the_part_of_that_name():
    assert with_values({}, {"norm": "batch"}) == {"norm": {"name": "batch"}}
    assert with_values({}, {"precision": "bfloat16"}) == {"precision": "bfloat16"}


def test_null_is_a_value():
    assert value_at({"scheduler": None}, "scheduler") is None
    assert value_at({"scheduler": None}, "scheduler.name") is MISSING
    assert value_at({}, "scheduler") is MISSING


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ({"norm": "batch"}, True),
        ({"norm": {"name": "batch"}}, True),
        ({"norm": {"name": "batch", "momentum": 0.1}}, True),
        ({"norm": {"name": "batch", "momentum": 0.2}}, False),
        ({"norm.momentum": 0.1, "batch_size": 32}, True),
        ({"norm.momentum": 0.1, "batch_size": 64}, False),
        ({"norm": "layer"}, False),
        ({"norm.affine": 1}, False),
        ({"norm.affine": True}, True),
        ({"hidden": [8, 4]}, True),
        ({"hidden": [8]}, False),
        ({"scheduler": None}, True),
        ({"ema": None}, False),
    ],
)
def test_a_pattern_fits_where_all_that_it_names_is_so(pattern, fits):
    spec = {
        "norm": {"name": "batch", "momentum": 0.1, "affine": True},
        "batch_size": 32,
        "hidden": (8, 4),
        "scheduler": None,
    }
    assert matches(spec, pattern) is fits
