"""The batches of each epoch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.data.order import BatchOrder

seeds = st.integers(0, 2**63 - 1)


def drawn(samples: int, size: int, seed: int, epoch: int) -> tuple[torch.Tensor, ...]:
    return BatchOrder(samples=samples, size=size, seed=seed).epoch(epoch)


@settings(max_examples=100)
@given(samples=st.integers(2, 200), data=st.data(), seed=seeds, epoch=st.integers(0, 1000))
def test_an_epoch_is_a_permutation_in_full_batches_but_for_the_last(samples, data, seed, epoch):
    size = data.draw(st.integers(2, samples))
    batches = drawn(samples, size, seed, epoch)
    assert sorted(torch.cat(batches).tolist()) == list(range(samples))
    *full, last = [len(batch) for batch in batches]
    assert full == [size] * len(full)
    assert 2 <= last <= size + 1


@pytest.mark.parametrize(
    ("samples", "size", "sizes"),
    [(10, 5, [5, 5]), (11, 5, [5, 6]), (12, 5, [5, 5, 2]), (4, 3, [4]), (3, 3, [3]), (1, 1, [1])],
)
def test_a_single_sample_joins_the_batch_before_it(samples, size, sizes):
    assert [len(batch) for batch in drawn(samples, size, seed=1, epoch=1)] == sizes


def test_batches_of_one_sample_stay_so_where_they_are_asked_for():
    assert [len(batch) for batch in drawn(5, 1, seed=1, epoch=1)] == [1] * 5


def order(seed: int, epoch: int, samples: int = 100, classes: int | None = None) -> list[int]:
    labels = torch.arange(samples) % 5
    batches = BatchOrder(samples=samples, size=8, seed=seed, classes_per_batch=classes, labels=labels)
    return torch.cat(batches.epoch(epoch)).tolist()


@given(seed=seeds, epoch=st.integers(1, 1000), classes=st.sampled_from([None, 1, 2]))
def test_the_order_depends_on_seed_and_epoch_alone(seed, epoch, classes):
    first = order(seed, epoch, classes=classes)
    torch.manual_seed(seed % 1000)
    torch.rand(3)
    assert order(seed, epoch, classes=classes) == first
    state = torch.get_rng_state()
    assert order(seed, epoch + 1, classes=classes) != first
    assert order((seed + 1) % 2**63, epoch, classes=classes) != first
    assert torch.equal(torch.get_rng_state(), state)


def test_near_seeds_and_epochs_never_share_an_order():
    orders = {tuple(order(seed, epoch)) for seed in range(30) for epoch in range(31)}
    assert len(orders) == 930


def test_the_size_of_a_batch_does_not_change_the_order():
    assert torch.equal(torch.cat(drawn(50, 7, 3, 2)), torch.cat(drawn(50, 50, 3, 2)))


@settings(max_examples=100)
@given(data=st.data(), seed=seeds)
def test_batches_of_few_classes_hold_each_sample_once_and_are_as_many_as_others(data, seed):
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=150)))
    classes, piece = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    samples, size = len(labels), classes * piece
    batches = BatchOrder(samples=samples, size=size, seed=seed, classes_per_batch=classes, labels=labels).epoch(1)
    assert sorted(torch.cat(batches).tolist()) == list(range(samples))
    assert list(map(len, batches)) == list(map(len, drawn(samples, size, seed, 1)))
    held = [torch.bincount(labels[rows], minlength=5) for rows in torch.cat(batches).split(size)]
    whole = [counts.sum() == size and set(counts.tolist()) <= {0, piece} for counts in held]
    # First come whole pieces; what is left over then has them of too few classes for one more batch.
    mixed = held[whole.index(False) :] if False in whole else []
    left = sum(mixed, torch.zeros(5, dtype=torch.int64))
    assert (left // piece).count_nonzero() < classes


#: Of MNIST's training data.
MNIST = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)


def mnist_like(classes: int, size: int) -> tuple[BatchOrder, torch.Tensor]:
    labels = torch.repeat_interleave(torch.arange(10), torch.tensor(MNIST))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    order = BatchOrder(samples=len(labels), size=size, seed=3, classes_per_batch=classes, labels=labels)
    return order, labels


def test_of_an_epoch_of_the_size_of_mnist_hardly_a_batch_holds_more_classes():
    order, labels = mnist_like(2, 32)
    for epoch in range(3):
        held = torch.stack([torch.bincount(labels[rows], minlength=10) for rows in order.epoch(epoch)])
        assert len(held) == 1875
        assert ((held > 0).sum(1) > 2).sum() <= 4


def test_classes_come_in_all_pairs_and_all_through_the_epoch():
    order, labels = mnist_like(2, 32)
    held = torch.stack([torch.bincount(labels[rows], minlength=10) for rows in order.epoch(1)]) > 0
    together = held.double().T @ held.double()
    assert (together > 0).all()
    # 1875 batches of two of ten classes: each is in 375 or so, and in as many in both halves of the epoch.
    assert ((together.diagonal() - torch.tensor(MNIST) / 16).abs() < 3).all()
    first = held[: len(held) // 2].sum(0)
    assert ((first / together.diagonal() - 0.5).abs() < 0.08).all()


def test_the_samples_of_a_batch_of_few_classes_are_in_no_order():
    order, labels = mnist_like(2, 32)
    halves = [labels[rows[:16]].unique().tolist() for rows in order.epoch(1)[:100]]
    assert all(len(half) == 2 for half in halves)


def test_batches_of_few_classes_hold_others_in_each_epoch():
    order, _ = mnist_like(2, 32)
    one, other = (set(order.epoch(epoch)[0].tolist()) for epoch in (1, 2))
    assert len(one & other) < 16
