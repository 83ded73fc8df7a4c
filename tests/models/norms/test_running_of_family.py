"""What holds for every norm that keeps running averages, whichever they are."""

import pytest
import torch

from models.catalog.records import Form
from models.catalog.registry import norms
from models.norms.base import RunningNorm
from models.norms.running import RunningAverages
from models.norms.table import NORM_LAYERS, make_norm
from tests.models.norms.checks import assert_same, channels, sample, with_random_state

CHANNELS = 32
SAMPLES = 8


def running_norm(name: str, **options) -> RunningNorm:
    fused = {"activation": True} if norms()[name].form is Form.FUSED else {}
    return make_norm(name, CHANNELS, **fused, **options)


def keeps_averages(name: str) -> bool:
    return isinstance(running_norm(name), RunningNorm)


NAMES = [str(name) for name in NORM_LAYERS if keeps_averages(name)]
names = pytest.mark.parametrize("name", NAMES)
momenta = pytest.mark.parametrize("momentum", [0.2, 1.0, None], ids=str)
places = pytest.mark.parametrize("places", [(), (4, 2)], ids=["vectors", "images"])


def batch(places=(), seed=0):
    return sample((SAMPLES, CHANNELS, *places), seed)


def statistics(norm: RunningNorm, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the catalogue says that a norm with its default options keeps of a batch."""
    values = channels(x)
    every = {
        "mean": values.mean(1),
        "var": values.var(1),
        "std": (values.var(1, correction=0) + norm.eps).sqrt(),
        "scale": values.abs().mean(1),
    }
    return {moment: every[moment] for moment in norm.MOMENTS}


def test_the_family_is_that_of_the_catalogue():
    assert {"batch", "sync_batch", "ghost_batch", "batch_renorm", "noisy_batch", "lp_batch"} <= set(NAMES)
    assert set(NAMES) == {name for name in NORM_LAYERS if norms()[name].uses_batch}


@names
@places
def test_a_forward_pass_in_train_mode_leaves_the_stored_state_alone(name, places):
    norm = with_random_state(running_norm(name))
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    norm(batch(places)).sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


@names
def test_no_buffer_holds_on_to_the_graph_of_the_latest_batch(name):
    norm = with_random_state(running_norm(name))
    norm(batch().requires_grad_())
    assert not any(buffer.requires_grad for buffer in norm.buffers())
    assert not norm.raw_moments(SAMPLES).requires_grad


@names
def test_a_forward_pass_in_eval_mode_changes_no_buffer(name):
    norm = with_random_state(running_norm(name)).eval()
    before = {key: value.clone() for key, value in norm.named_buffers()}
    assert torch.equal(norm(batch()), norm(batch()))
    assert all(torch.equal(value, before[key]) for key, value in norm.named_buffers())


@names
@places
def test_scratch_buffers_hold_the_statistics_of_the_latest_batch(name, places):
    norm = running_norm(name).double()
    norm(batch(places, seed=1) * 5)  # what an earlier batch left must not matter
    norm(batch(places))
    for moment, expected in statistics(norm, batch(places)).items():
        assert_same([norm.get_buffer(f"batch_{moment}")], [expected], 1e-12)


@names
@momenta
def test_an_update_weighs_the_statistics_of_the_newest_batch_by_the_momentum(name, momentum):
    norm = running_norm(name, momentum=momentum).double()
    averages = RunningAverages([norm])
    expected = {moment: running.clone() for moment, _, running in norm.running()}
    for seen in range(5):
        x = batch(seed=seen) * (1 + seen)
        norm(x)
        averages.update()
        share = 1 / (seen + 1) if momentum is None else momentum
        for moment, new in statistics(norm, x).items():
            expected[moment] = (1 - share) * expected[moment] + share * new
            assert_same([norm.get_buffer(f"running_{moment}")], [expected[moment]], 1e-12)
    averages.settle()
    assert norm.num_batches_tracked.item() == 5


@names
@momenta
def test_one_that_moves_itself_has_the_same_averages(name, momentum):
    norm, moving = (running_norm(name, momentum=momentum).double() for _ in range(2))
    moving.__class__ = type("Moving", (type(moving),), {"moves_itself": True})
    averages = RunningAverages([norm])
    for seed in range(4):
        norm(batch(seed=seed))
        averages.update()
        moving(batch(seed=seed))
    averages.settle()
    assert list(moving.state_dict()) == list(norm.state_dict())
    assert all(torch.equal(value, norm.state_dict()[key]) for key, value in moving.state_dict().items())


def test_all_of_them_move_together_as_each_does_alone():
    together, alone = ([running_norm(name).double() for name in NAMES] for _ in range(2))
    joined, several = RunningAverages(together), [RunningAverages([norm]) for norm in alone]
    for seed in range(3):
        for norm, other, averages in zip(together, alone, several, strict=True):
            norm(batch(seed=seed))
            other(batch(seed=seed))
            averages.update()
        joined.update()
    for norm, other in zip(together, alone, strict=True):
        assert_same([running for *_, running in norm.running()], [running for *_, running in other.running()], 0)


@names
@places
def test_the_population_of_one_batch_has_the_statistics_of_that_batch(name, places):
    norm, x = running_norm(name).double(), batch(places)
    norm(x)
    values = x.numel() // CHANNELS
    raw = norm.raw_moments(values)
    assert raw.dtype is torch.float64
    assert_same(list(norm.population(raw, values).values()), list(statistics(norm, x).values()), 1e-11)
    assert list(norm.population(raw, values)) == list(norm.MOMENTS)


@names
@places
def test_the_population_of_ragged_batches_is_exact(name, places):
    norm, x = running_norm(name).double(), batch(places)
    raws = []
    for part in x.split([5, 3]):
        norm(part)
        raws.append(norm.raw_moments(part.numel() // CHANNELS) * len(part) / len(x))
    found = norm.population(sum(raws), x.numel() // CHANNELS)
    assert_same(list(found.values()), list(statistics(norm, x).values()), 1e-11)


@names
def test_images_in_channels_last_stay_so_and_give_the_same(name):
    # Noise is drawn in the order of memory, and so is not the same for each value.
    silent = {"n_mu": 0.0, "n_sigma": 1.0, "r_mu": 0.0, "r_sigma": 0.0} if name == "noisy_batch" else {}
    norm, x = with_random_state(running_norm(name, **silent)), batch((4, 2))
    for training in (True, False):
        expected = norm.train(training)(x)
        found = norm(x.contiguous(memory_format=torch.channels_last))
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert_same([found], [expected], 1e-12)


@names
def test_a_state_dict_brings_the_averages_along_and_nothing_of_the_latest_batch(name):
    norm, other = with_random_state(running_norm(name)), running_norm(name).double()
    other.load_state_dict(norm.state_dict())
    assert torch.equal(other.eval()(batch()), norm.eval()(batch()))
    assert not any(key.startswith("batch_") for key in norm.state_dict())
    assert {f"running_{moment}" for moment in norm.MOMENTS} <= set(norm.state_dict())
    assert set(norm.stored_moments()) == set(norm.MOMENTS)
