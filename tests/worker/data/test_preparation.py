"""What a job does to its data, and that the exported config says the same."""

import numpy as np
import torch

from db.datasets import DATASETS, DatasetName
from tests.worker.support import CPU, small_spec, trained
from worker import export
from worker.assembly import place_data

INFO = DATASETS[DatasetName.DIGITS]
STANDARDIZED = {"name": "digits", "standardize": True}


def test_a_standardized_job_trains_on_inputs_of_mean_0_and_deviation_1(digits):
    train = place_data(small_spec(dataset=STANDARDIZED), digits, CPU).train
    inputs, _ = train.batch(torch.arange(len(train)))
    std, mean = torch.std_mean(inputs.double(), correction=0)
    # The catalogue's moments have four digits.
    assert abs(mean.item()) < 1e-3
    assert abs(std.item() - 1) < 1e-3


def test_a_jobs_limits_are_those_of_its_spec(digits):
    data = place_data(small_spec(dataset={"name": "digits", "train_limit": 300, "test_limit": 50}), digits, CPU)
    assert (len(data.train), len(data.test)) == (300, 50)


def test_a_validation_part_is_as_large_as_its_spec_says(digits):
    spec = small_spec(dataset={"name": "digits", "train_limit": 301, "validation_fraction": 0.3})
    data = place_data(spec, digits, CPU)
    assert (len(data.validation), len(data.train)) == (90, 211)
    assert (spec.dataset.validation_samples, spec.dataset.train_samples) == (90, 211)


def test_the_exported_config_prepares_raw_values_as_the_job_did(digits):
    spec = small_spec(dataset=STANDARDIZED)
    given = export.config(spec)["input"]
    assert (given["mean"], given["std"], given["threshold"]) == (list(INFO.mean), list(INFO.std), None)
    mean, std = (np.reshape(given[name], (-1, 1, 1)) for name in ("mean", "std"))
    prepared = (digits.arrays.test_inputs / given["largest_value"] - mean) / std
    test = place_data(spec, digits, CPU).test
    inputs, _ = test.batch(torch.arange(len(test)))
    np.testing.assert_allclose(inputs.numpy(), prepared, rtol=0, atol=1e-6)


def test_a_standardized_job_learns(digits):
    run, _ = trained(digits, dataset=STANDARDIZED, architecture={"name": "mlp", "hidden": [32, 32]}, steps=100)
    assert run.evaluator.evaluate().metrics["test/accuracy"] > 0.8
