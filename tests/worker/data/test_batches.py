"""What the loop gets of the samples."""

import numpy as np
import pytest
import torch

from worker.data.arrays import Arrays
from worker.data.batches import Samples, place

CPU = torch.device("cpu")


def arrays_of(train: int, test: int = 5, channels: int = 1) -> Arrays:
    random = np.random.default_rng(0)
    inputs = random.integers(0, 256, size=(train + test, channels, 2, 2), dtype=np.uint8)
    targets = np.arange(train + test) % 10
    return Arrays(
        train_inputs=inputs[:train],
        train_targets=targets[:train],
        test_inputs=inputs[train:],
        test_targets=targets[train:],
    )


@pytest.mark.parametrize("scale", [1.0, 1 / 255, 1 / 16])
def test_a_batch_is_the_chosen_samples_as_floats_times_the_scale(scale):
    arrays = arrays_of(20)
    samples = place(arrays, CPU, scale=scale, train_limit=None, gap_samples=20).train
    rows = torch.tensor([7, 0, 7, 19])
    inputs, targets = samples.batch(rows)
    assert inputs.dtype == torch.float32
    expected = arrays.train_inputs[[7, 0, 7, 19]].astype(np.float32) * np.float32(scale)
    np.testing.assert_array_equal(inputs.numpy(), expected)
    assert targets.tolist() == [7, 0, 7, 9]
    np.testing.assert_array_equal(samples.inputs.numpy(), arrays.train_inputs)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_standardized_batch_has_each_channel_less_its_mean_over_its_deviation(channels):
    arrays = arrays_of(20, channels=channels)
    mean, std = [0.3, 0.5, 0.7][:channels], [0.1, 0.2, 0.4][:channels]
    data = place(arrays, CPU, scale=1 / 255, standard=(mean, std), gap_samples=5)
    rows = torch.tensor([7, 0, 7, 19])
    inputs, _ = data.train.batch(rows)
    assert inputs.dtype == torch.float32
    centre, spread = (np.reshape(values, (channels, 1, 1)) for values in (mean, std))
    expected = (arrays.train_inputs[rows.numpy()] / 255 - centre) / spread
    np.testing.assert_allclose(inputs.numpy(), expected, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(data.train.inputs.numpy(), arrays.train_inputs)
    for part in (data.test, data.gap):
        assert part.scale is data.train.scale
        assert part.shift is data.train.shift


def test_moments_of_the_data_itself_make_mean_0_and_deviation_1():
    arrays = arrays_of(500, channels=3)
    values = arrays.train_inputs / 255
    moments = values.mean((0, 2, 3)).tolist(), values.std((0, 2, 3)).tolist()
    samples = place(arrays, CPU, scale=1 / 255, standard=moments, gap_samples=5).train
    inputs, _ = samples.batch(torch.arange(500))
    std, mean = torch.std_mean(inputs.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(std, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [8, 8, 4]), (True, [8, 8])])
def test_batches_run_through_the_samples_in_their_own_order(drop_last, sizes):
    samples = place(arrays_of(20), CPU, scale=1.0, train_limit=None, gap_samples=20).train
    found = list(samples.batches(8, drop_last=drop_last))
    assert [len(targets) for _, targets in found] == sizes
    assert torch.equal(torch.cat([x for x, _ in found]), samples.inputs[: sum(sizes)].float())


def rows(samples: Samples) -> list[tuple[int, ...]]:
    return [tuple(each) for each in samples.inputs.flatten(1).tolist()]


def test_fixed_choices_are_nested_and_the_same_every_time():
    arrays = arrays_of(200)

    def train(limit: int | None) -> list[tuple[int, ...]]:
        return rows(place(arrays, CPU, scale=1.0, train_limit=limit, gap_samples=10).train)

    assert train(50) == train(50)
    assert train(120)[:50] == train(50)
    assert len(set(train(120))) == 120
    assert sorted(train(200)) == sorted(train(None)) == sorted(train(500))
    assert train(50) != train(None)[:50]


def test_the_test_limit_is_a_fixed_choice_that_leaves_training_alone():
    arrays = arrays_of(50, test=200)

    def test_rows(limit: int | None) -> list[tuple[int, ...]]:
        data = place(arrays, CPU, scale=1.0, test_limit=limit, gap_samples=10)
        assert len(data.train) == 50
        return rows(data.test)

    assert test_rows(50) == test_rows(50)
    assert test_rows(120)[:50] == test_rows(50)
    assert len(set(test_rows(120))) == 120
    assert test_rows(500) == test_rows(200) == test_rows(None)
    assert test_rows(50) != test_rows(None)[:50]
    assert set(test_rows(50)) < set(test_rows(None))


@pytest.mark.parametrize(
    ("limit", "wanted", "found"), [(None, 30, 30), (None, 500, 200), (40, 30, 30), (40, 60, 40)]
)
def test_the_gap_subset_is_a_fixed_part_of_what_the_job_trains_on(limit, wanted, found):
    data = place(arrays_of(200), CPU, scale=0.5, train_limit=limit, gap_samples=wanted)
    assert len(data.gap) == found
    assert set(rows(data.gap)) <= set(rows(data.train))
    assert len(set(rows(data.gap))) == found
    assert data.gap.scale == data.train.scale == data.test.scale == 0.5
    assert len(data.test) == 5


def parts(count: int, limit: int | None = None) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The rows that are trained on, and those that are held out."""
    arrays = arrays_of(200)
    data = place(arrays, CPU, scale=0.5, train_limit=limit, validation_samples=count, gap_samples=1000)
    assert data.validation is not None
    assert data.validation.scale == 0.5
    assert sorted(rows(data.gap)) == sorted(rows(data.train))
    return rows(data.train), rows(data.validation)


@pytest.mark.parametrize("limit", [None, 120])
def test_the_validation_part_is_a_fixed_choice_that_is_not_trained_on(limit):
    whole = place(arrays_of(200), CPU, scale=0.5, train_limit=limit, gap_samples=10)
    assert whole.validation is None
    train, held_out = parts(50, limit)
    assert (train, held_out) == parts(50, limit)
    assert len(held_out) == 50
    assert sorted(train + held_out) == sorted(rows(whole.train))
    assert train == [row for row in rows(whole.train) if row in set(train)]
    assert parts(80, limit)[1][:50] == held_out
    assert held_out != rows(whole.train)[:50]


def test_targets_are_held_out_with_their_inputs():
    arrays = arrays_of(200)
    data = place(arrays, CPU, scale=1.0, validation_samples=50, gap_samples=10)
    targets = dict(zip(map(tuple, arrays.train_inputs.reshape(200, -1)), arrays.train_targets, strict=True))
    for part in (data.train, data.validation):
        assert part.targets.tolist() == [targets[row] for row in rows(part)]


def test_numbers_of_any_size_are_taken_as_they_are_with_as_many_targets_as_there_are():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 3, 1, 1)).astype(np.float32), random.normal(size=(30, 2)).astype(np.float32)
    arrays = Arrays(train_inputs=x[:20], train_targets=y[:20], test_inputs=x[20:], test_targets=y[20:])
    data = place(arrays, CPU, scale=1.0, gap_samples=5)
    inputs, targets = data.train.batch(torch.tensor([7, 0, 7]))
    np.testing.assert_array_equal(inputs.numpy(), x[[7, 0, 7]])
    np.testing.assert_array_equal(targets.numpy(), y[[7, 0, 7]])
    assert (len(data.train), len(data.test), len(data.gap)) == (20, 10, 5)
    standard = place(arrays, CPU, scale=1.0, standard=([0.5, 1.0, 2.0], [1.0, 2.0, 4.0]), gap_samples=5).train
    inputs, _ = standard.batch(torch.arange(20))
    expected = (x[:20] - np.reshape([0.5, 1.0, 2.0], (3, 1, 1))) / np.reshape([1.0, 2.0, 4.0], (3, 1, 1))
    np.testing.assert_allclose(inputs.numpy(), expected, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(standard.inputs.numpy(), x[:20])
