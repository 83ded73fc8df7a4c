"""Warnings about valid specs: what each says, and that ordinary specs have none."""

import pytest
import torch

from db.spec.job import JobSpec
from db.spec.lints.weights import STANDARDIZED_LAYERS
from db.spec.warnings import RULES, warnings
from models.build import build
from models.catalog.registry import norms
from tests.db.support import make_spec
from worker.optim import norm_parameters

CNN = {"name": "cnn", "channels": [4]}


#: Even batches: no last one of a single sample.
EVEN = {"name": "digits", "train_limit": 1400}


def spec_of(**changes) -> JobSpec:
    return make_spec(**{"dataset": EVEN} | changes)


def found(**changes) -> dict[str, str]:
    """Code and pointer of every warning."""
    return {warning.code: warning.pointer for warning in warnings(spec_of(**changes))}


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "batch_renorm", "dyt", "weight"])
def test_an_ordinary_job_has_no_warnings(norm):
    assert found(norm={"name": norm}) == {}
    assert found(norm={"name": norm}, architecture=CNN, batch_size=4, optimizer={"name": "AdamW"}) == {}


def test_synchronized_batch_norm_in_one_process_is_batch_norm():
    assert found(norm={"name": "sync_batch"}) == {"sync_in_one_process": "/norm/name"}


def test_frozen_batch_norm_from_scratch_is_the_identity():
    assert found(norm={"name": "frozen_batch"}) == {"frozen_from_scratch": "/norm/name"}


@pytest.mark.parametrize("norm", ["batch", "batch_renorm", "noisy_batch"])
def test_two_values_of_a_channel_in_a_batch_become_plus_and_minus_one(norm):
    assert found(norm={"name": norm}, batch_size=2) == {"two_values_per_channel": "/batch_size"}
    assert found(norm={"name": norm}, batch_size=3) == {}
    assert found(norm={"name": norm}, batch_size=2, architecture=CNN) == {}
    (warning,) = warnings(spec_of(norm={"name": norm}, batch_size=2))
    assert "site norm1" in warning.message


def test_the_deepest_maps_count_and_not_the_first():
    shrinking = {"name": "cnn", "channels": [4, 4, 4, 4]}
    (warning,) = warnings(spec_of(architecture=shrinking, batch_size=2))
    assert "site norm4" in warning.message


@pytest.mark.parametrize("norm", ["layer", "none", "evonorm_b0", "frozen_batch"])
def test_two_samples_are_no_matter_to_norms_that_do_not_centre_over_the_batch(norm):
    assert "two_values_per_channel" not in found(norm={"name": norm}, batch_size=2)


@pytest.mark.parametrize(("batch_size", "size", "warned"), [(32, 2, True), (34, 32, True), (35, 32, False)])
def test_two_samples_in_a_chunk_count_too(batch_size, size, warned):
    expected = {"two_values_per_channel": "/norm/size"} if warned else {}
    assert found(norm={"name": "ghost_batch", "size": size}, batch_size=batch_size) == expected


@pytest.mark.parametrize("centered", [True, False])
def test_what_is_not_divided_by_its_own_deviation_keeps_its_size(centered):
    codes = found(norm={"name": "lp_batch", "centered": centered}, batch_size=2)
    assert ("two_values_per_channel" in codes) is centered


def test_noise_alone_is_of_no_batch_and_keeps_no_averages():
    wanted = {"batch_size": 2, "optimizer": {"name": "SGD", "accumulate": 2}, "steps": 10}
    assert found(norm={"name": "noisy_batch"}, **wanted).keys() == {
        "two_values_per_channel",
        "accumulated_batches",
        "short_averages",
    }
    assert found(norm={"name": "noisy_batch", "normalize": False}, **wanted) == {}


DECAY = {"name": "SGD", "weight_decay": 0.1, "decay_norm": True}


def test_weight_decay_of_norms_is_spoken_of_where_there_is_something_to_decay():
    assert found(optimizer=DECAY) == {"decay_of_norms": "/optimizer/decay_norm"}
    assert found(optimizer=DECAY | {"weight_decay": 0.0}) == {}
    assert found(optimizer=DECAY | {"decay_norm": False}) == {}
    assert found(optimizer=DECAY, norm={"name": "none"}) == {}
    assert found(optimizer=DECAY, norm={"name": "batch", "affine": False}) == {}


SKIP = {"name": "resnet", "depth": 8}


@pytest.mark.parametrize(
    ("norm", "architecture", "words"),
    [
        ("batch", CNN, "the scales of norms"),
        ("dyt", CNN, "the scales of norms"),
        ("weight", CNN, "the learned length of each filter"),
        ("skip_init", SKIP, "the scalar of each residual branch"),
    ],
)
def test_what_stands_in_for_a_norm_is_decayed_with_it(norm, architecture, words):
    spec = make_spec(norm={"name": norm}, architecture=architecture, optimizer=DECAY)
    (warning,) = warnings(spec)
    assert (warning.code, warning.pointer) == ("decay_of_norms", "/optimizer/decay_norm")
    assert f"pulls {words} towards 0" in warning.message
    # It is what the optimizer keeps from decay otherwise.
    assert len(list(norm_parameters(build(spec.blueprint())))) > 0


@pytest.mark.parametrize("norm", ["spectral", "weight_standardization", "none"])
def test_norms_without_learned_numbers_have_nothing_to_decay(norm):
    spec = make_spec(norm={"name": norm}, architecture=CNN, optimizer=DECAY)
    assert warnings(spec) == []
    assert list(norm_parameters(build(spec.blueprint()))) == []


def standardized(architecture, groups=None):
    """Whether weight standardization is warned of in a network for images of 32x32."""
    changes = {"dataset": {"name": "cifar10"}, "architecture": architecture}
    return found(norm={"name": "weight_standardization", "groups": groups}, **changes) == {
        "standardized_alone": "/norm/groups"
    }


def mlp(depth, activation="relu"):
    return {"name": "mlp", "hidden": [16] * depth, "activation": activation}


@pytest.mark.parametrize(
    ("architecture", "warned"),
    [
        (mlp(STANDARDIZED_LAYERS - 1), False),
        (mlp(STANDARDIZED_LAYERS), True),
        ({"name": "cnn", "channels": [8] * (STANDARDIZED_LAYERS - 1)}, False),
        ({"name": "cnn", "channels": [8] * STANDARDIZED_LAYERS}, True),
        ({"name": "resnet", "depth": 20}, True),
        ({"name": "inception", "width": 0.1}, True),
        ({"name": "transformer", "patch": 8, "depth": 1}, False),
        ({"name": "transformer", "patch": 8, "depth": 2}, True),
        # Bounded activations keep the values small however deep the network is.
        (mlp(12, "tanh"), False),
        (mlp(12, "sigmoid"), False),
    ],
    ids=str,
)
def test_weight_standardization_alone_is_warned_of_in_deep_networks(architecture, warned):
    assert standardized(architecture) is warned
    assert standardized(architecture, groups=4) is False


def test_the_warning_of_weight_standardization_names_groups_as_the_way_out():
    (warning,) = warnings(spec_of(norm={"name": "weight_standardization"}, architecture=mlp(6)))
    assert warning.message.startswith("6 layers in a row have standardized weights")
    assert "Give groups" in warning.message


def outputs(architecture, groups=None):
    """The largest value that a network with standardized weights begins with."""
    torch.manual_seed(0)
    norm = {"name": "weight_standardization", "groups": groups}
    spec = make_spec(dataset={"name": "cifar10"}, architecture=architecture, norm=norm)
    with torch.no_grad():
        return build(spec.blueprint())(torch.randn(8, 3, 32, 32)).abs().max()


def test_what_is_warned_of_blows_up_and_what_is_the_way_out_does_not():
    assert outputs({"name": "resnet", "depth": 20}) > 1e12
    assert outputs({"name": "resnet", "depth": 20}, groups=4) < 100
    assert outputs(mlp(12)) > 1e5
    assert outputs(mlp(12, "tanh")) < 100


@pytest.mark.parametrize("norm", ["batch", "evonorm_b0", "layer", "none"])
def test_accumulation_is_spoken_of_where_the_batch_is_normalized(norm):
    optimizer = {"name": "SGD", "accumulate": 4}
    expected = {"accumulated_batches": "/optimizer/accumulate"} if norms()[norm].uses_batch else {}
    assert found(norm={"name": norm}, optimizer=optimizer) == expected
    assert found(norm={"name": norm}, optimizer=optimizer | {"accumulate": 1}) == {}


def test_warnings_that_go_together_are_said_at_once():
    optimizer = DECAY | {"accumulate": 2}
    together = found(norm={"name": "sync_batch"}, batch_size=2, optimizer=optimizer, steps=10)
    assert list(together) == [
        "sync_in_one_process",
        "two_values_per_channel",
        "accumulated_batches",
        "short_averages",
        "decay_of_norms",
    ]


def test_every_code_is_its_rules_name():
    assert all(code == rule.__name__ for code, rule in RULES.items())
