"""What a spec says that its evaluations give is what they give."""

import pytest

from db.spec.selection import evaluated_metrics
from tests.worker.support import CPU, make_run, small_spec
from worker import assembly as runs
from worker.data import cache

PART = {"name": "digits", "validation_fraction": 0.2}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dataset": PART, "ema": {}},
        {"dataset": PART | {"train_limit": 620}},  # 496 are left: no batch of 500
        {"dataset": PART | {"train_limit": 620}, "batch_size": 496},
        {"evaluate": {"modes": []}},
        {"evaluate": {"modes": ["train"], "train_samples": 499}},
        {"evaluate": {"modes": ["train"], "train_samples": 499}, "batch_size": 500},
        {"evaluate": {"modes": ["precise", "eval", "eval"]}, "ema": {}},
        {"norm": {"name": "none"}},
    ],
    ids=str,
)
def test_the_metrics_that_may_be_watched_are_those_of_an_evaluation(digits, changes):
    run = make_run(digits, **changes)
    assert sorted(evaluated_metrics(small_spec(**changes))) == sorted(run.evaluator.evaluate(run.ema).metrics)


def test_the_metrics_of_a_regression_are_those_of_its_evaluation(tmp_path):
    spec = small_spec(dataset={"name": "gaussian_linear", "validation_fraction": 0.5})
    data = cache.load(spec.dataset.info, binarize=False, data_dir=tmp_path, cache=tmp_path / "cache")
    run = runs.make_run(spec, data, CPU)
    assert sorted(evaluated_metrics(spec)) == sorted(run.evaluator.evaluate().metrics)
