"""The order of samples, and what the loop gets of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.data.arrays import Arrays
from worker.data.batches import Samples, epoch_batches, place

CPU = torch.device("cpu")
seeds = st.integers(0, 2**63 - 1)


@settings(max_examples=100)
@given(samples=st.integers(2, 200), data=st.data(), seed=seeds, epoch=st.integers(1, 1000))
def test_an_epoch_is_a_permutation_in_full_batches_but_for_the_last(samples, data, seed, epoch):
    size = data.draw(st.integers(2, samples))
    batches = epoch_batches(samples, size, seed, epoch)
    assert sorted(torch.cat(batches).tolist()) == list(range(samples))
    *full, last = [len(batch) for batch in batches]
    assert full == [size] * len(full)
    assert 2 <= last <= size + 1


@pytest.mark.parametrize(
    ("samples", "size", "sizes"),
    [(10, 5, [5, 5]), (11, 5, [5, 6]), (12, 5, [5, 5, 2]), (4, 3, [4]), (3, 3, [3]), (1, 1, [1])],
)
def test_a_single_sample_joins_the_batch_before_it(samples, size, sizes):
    assert [len(batch) for batch in epoch_batches(samples, size, seed=1, epoch=1)] == sizes


def test_batches_of_one_sample_stay_so_where_they_are_asked_for():
    assert [len(batch) for batch in epoch_batches(5, 1, seed=1, epoch=1)] == [1] * 5


def order(seed: int, epoch: int, samples: int = 100) -> list[int]:
    return torch.cat(epoch_batches(samples, 7, seed, epoch)).tolist()


@given(seed=seeds, epoch=st.integers(1, 1000))
def test_the_order_depends_on_seed_and_epoch_alone(seed, epoch):
    first = order(seed, epoch)
    torch.manual_seed(seed % 1000)
    torch.rand(3)
    assert order(seed, epoch) == first
    state = torch.get_rng_state()
    assert order(seed, epoch + 1) != first
    assert order((seed + 1) % 2**63, epoch) != first
    assert torch.equal(torch.get_rng_state(), state)


def test_near_seeds_and_epochs_never_share_an_order():
    orders = {tuple(order(seed, epoch)) for seed in range(30) for epoch in range(1, 31)}
    assert len(orders) == 900


def test_the_size_of_a_batch_does_not_change_the_order():
    assert torch.equal(torch.cat(epoch_batches(50, 7, 3, 2)), torch.cat(epoch_batches(50, 50, 3, 2)))


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
