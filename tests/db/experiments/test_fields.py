"""The fields of a job spec by dotted path."""

import pytest

from db.experiments.fields import beside, fields, is_field, nearest


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("norm", True),
        ("norm.momentum", True),
        ("architecture.init.std", True),
        ("statistics.units.norm1", True),
        ("scheduler.T_max", True),
        ("lr", False),
        ("optimizer.lr.x", False),
        ("norm.group", False),
        ("probes.every", False),
    ],
)
def test_a_path_leads_somewhere_or_not(path, expected):
    assert is_field(path) is expected


def test_fields_say_which_parts_have_them():
    assert fields()["norm.n_mu"] == {"noisy_batch"}
    assert fields()["optimizer.lr"] == {"SGD", "AdamW"}
    assert fields()["batch_size"] == frozenset()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lr", ["optimizer.lr"]),
        ("optimiser.lr", ["optimizer.lr"]),
        ("optimizer.learning_rate", ["optimizer.lr"]),
        ("momentum", ["norm.momentum", "optimizer.momentum"]),
        ("norm.size.momentum", ["norm.momentum"]),
        ("norm.group", ["norm.groups"]),
        ("norn", ["norm"]),
        ("colour", []),
    ],
)
def test_the_nearest_fields_are_found(path, expected):
    assert nearest(path) == expected


def test_what_may_stand_there_is_said():
    assert beside("architecture.init.size") == ["architecture.init.name", "architecture.init.std"]
    assert beside("optimizer.lr.x") == beside("optimizer.learning_rate")
    assert "optimizer.lr" in beside("optimizer.learning_rate")
    assert "optimizer" in beside("optimiser.lr")
