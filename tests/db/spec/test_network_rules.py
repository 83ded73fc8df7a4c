"""Which networks, norms and batches go together, and what the refusal of those that do not says."""

from typing import Any

import pytest
from pydantic import ValidationError

from models.catalog.registry import architectures, norms
from models.shapes import total_parameters
from tests.db.support import make_spec

OF_THE_BATCH = [name for name, info in norms().items() if info.uses_batch]
CNN = {"name": "cnn", "channels": [4, 6]}
#: Three poolings make maps of one value of images of 8x8.
DEEP_CNN = {"name": "cnn", "channels": [4, 4, 4, 4]}


def mlp(*hidden: int) -> dict[str, Any]:
    return {"name": "mlp", "hidden": list(hidden)}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    ending = [{"name": "flatten"}, {"name": "linear", "units": 10}]
    return {"name": "sequential", "layers": [*layers, *ending]}


def refusal(**changes: Any) -> dict[str, Any]:
    """Code, message and context of the one error that a spec is refused for."""
    with pytest.raises(ValidationError) as refused:
        make_spec(**changes)
    (error,) = refused.value.errors(include_url=False)
    return {"code": error["type"], "message": error["msg"], **error["ctx"]}


@pytest.mark.parametrize(
    ("architecture", "norm"),
    [
        (mlp(8), "instance"),
        (mlp(8), "skip_init"),
        (mlp(8), "filter_response"),
        (CNN, "skip_init"),
        ({"name": "lstm"}, "group"),
        ({"name": "gru"}, "evonorm_b0"),
        ({"name": "transformer"}, "ghost_batch"),
    ],
    ids=str,
)
def test_a_norm_that_the_network_does_not_take_is_refused_with_those_that_it_does(architecture, norm):
    error = refusal(architecture=architecture, norm={"name": norm})
    assert (error["code"], error["pointer"]) == ("norm_not_taken", "/norm/name")
    assert error["allowed"] == list(architectures()[architecture["name"]].norms)
    assert norm not in error["allowed"]
    assert f"Choose one of {', '.join(error['allowed'])}." in error["message"]


@pytest.mark.parametrize(
    ("architecture", "position", "allowed"),
    [
        (mlp(8), "norm_first", ["auto", "before_activation", "after_activation"]),
        ({"name": "transformer"}, "after_activation", ["auto", "norm_first", "norm_last"]),
        ({"name": "lstm"}, "before_activation", ["auto"]),
    ],
    ids=str,
)
def test_a_position_that_the_network_does_not_have_is_refused_with_those_that_it_has(
    architecture, position, allowed
):
    error = refusal(architecture=architecture, norm={"name": "layer", "position": position})
    assert (error["code"], error["pointer"]) == ("position_not_taken", "/norm/position")
    assert (error["allowed"], error["given"]) == (allowed, position)
    assert f"Choose one of {', '.join(allowed)}." in error["message"]
    for each in allowed:
        assert make_spec(architecture=architecture, norm={"name": "layer", "position": each})


@pytest.mark.parametrize("norm", ["group", "weight_standardization", "evonorm_s0"])
@pytest.mark.parametrize(
    ("architecture", "groups", "words", "allowed"),
    [
        ({"name": "cnn", "channels": [32, 48]}, 32, "48 channels of site norm2", [1, 2, 4, 8, 16]),
        ({"name": "cnn", "channels": [7]}, 2, "7 channels of site norm1", [1, 7]),
        # One value of each channel: the groups must hold two channels.
        (mlp(12, 8), 8, "12 channels of site norm1", [1, 2, 4]),
        (mlp(5, 3), 2, "5 channels of site norm1", [1]),
    ],
    ids=str,
)
def test_groups_that_do_not_divide_the_channels_are_refused_with_the_divisors(
    norm, architecture, groups, words, allowed
):
    error = refusal(architecture=architecture, norm={"name": norm, "groups": groups})
    assert (error["code"], error["pointer"]) == ("channels_not_divisible", "/norm/groups")
    assert words in error["message"]
    assert error["allowed"] == allowed
    for each in allowed:
        assert str(each) in error["message"]
        assert make_spec(architecture=architecture, norm={"name": norm, "groups": each})


@pytest.mark.parametrize("architecture", [mlp(8), mlp(8, 16), DEEP_CNN | {"channels": [8, 8, 8, 8]}], ids=str)
def test_groups_of_one_value_are_refused(architecture):
    error = refusal(architecture=architecture, norm={"name": "group", "groups": 8})
    assert (error["code"], error["pointer"]) == ("one_value_per_group", "/norm/groups")
    assert error["allowed"] == [1, 2, 4]
    assert "Take 1, 2 or 4, or another norm." in error["message"]
    for each in error["allowed"]:
        assert make_spec(architecture=architecture, norm={"name": "group", "groups": each})


def test_where_no_number_of_groups_fits_wider_layers_are_advised():
    error = refusal(architecture=mlp(4, 1), norm={"name": "group", "groups": 1})
    assert (error["code"], error["allowed"]) == ("one_value_per_group", [])
    assert "take wider layers, or another norm" in error["message"]


@pytest.mark.parametrize("norm", ["instance", "filter_response"])
def test_norms_over_positions_are_refused_on_maps_of_one_value(norm):
    assert make_spec(architecture=CNN, norm={"name": norm})
    error = refusal(architecture=DEEP_CNN, norm={"name": norm})
    assert (error["code"], error["pointer"]) == ("one_value_per_channel", "/norm/name")
    assert all(words in error["message"] for words in ("site norm4 has 1", "at least 2", "larger maps"))
    assert "batch" in error["allowed"]
    assert not {"instance", "filter_response"} & set(error["allowed"])


@pytest.mark.parametrize("norm", OF_THE_BATCH)
def test_batch_statistics_of_one_value_are_refused(norm):
    error = refusal(batch_size=1, norm={"name": norm})
    assert (error["code"], error["pointer"]) == ("one_value_per_channel", "/batch_size")
    assert error["allowed"] == "2 to 1437"
    assert all(words in error["message"] for words in (norm, "site norm1 has 1", "Take a larger batch"))
    assert make_spec(batch_size=2, norm={"name": norm})


@pytest.mark.parametrize("norm", sorted(set(OF_THE_BATCH) - {"ghost_batch"}))
def test_one_sample_is_enough_where_each_map_has_several_values(norm):
    assert make_spec(batch_size=1, architecture=CNN, norm={"name": norm})
    assert refusal(batch_size=1, architecture=DEEP_CNN, norm={"name": norm})["code"] == "one_value_per_channel"


def test_of_a_single_training_sample_no_batch_is_allowed():
    error = refusal(batch_size=1, dataset={"name": "digits", "train_limit": 1})
    assert (error["code"], error["allowed"]) == ("one_value_per_channel", None)


@pytest.mark.parametrize(
    ("batch_size", "size", "allowed"),
    [
        (33, 32, [29, 30, 31, 33, 34, 35]),
        (65, 32, [29, 30, 31, 33, 34, 35]),
        (5, 2, [3, 5]),
        (7, 3, [4, 5]),
    ],
)
def test_a_chunk_of_one_sample_is_refused_with_sizes_near_it(batch_size, size, allowed):
    error = refusal(batch_size=batch_size, norm={"name": "ghost_batch", "size": size})
    assert (error["code"], error["pointer"]) == ("chunk_of_one", "/norm/size")
    assert error["allowed"] == allowed
    assert "or change batch_size" in error["message"]
    for each in allowed:
        assert make_spec(batch_size=batch_size, norm={"name": "ghost_batch", "size": each})


def test_a_batch_of_one_is_one_chunk_of_one_whatever_the_size():
    error = refusal(batch_size=1, architecture=CNN, norm={"name": "ghost_batch"})
    assert (error["code"], error["pointer"], error["allowed"]) == ("chunk_of_one", "/batch_size", "2 to 1437")


def test_a_sample_of_one_value_is_refused_for_norms_of_samples():
    for norm in ("layer", "rms"):
        error = refusal(architecture=mlp(4, 1), norm={"name": norm})
        assert (error["code"], error["pointer"]) == ("one_value_per_sample", "/norm/name")
        assert all(words in error["message"] for words in ("site norm2", "a wider layer or another norm"))


def test_norms_over_one_channel_of_maps_are_refused_with_the_whole_sample_as_the_way_out():
    grey = sequential({"name": "norm"})
    error = refusal(architecture=grey, norm={"name": "layer", "over": "channels"})
    assert (error["code"], error["pointer"]) == ("one_value_per_sample", "/norm/over")
    assert error["allowed"] == ["sample"]
    assert "over: sample" in error["message"]
    assert make_spec(architecture=grey, norm={"name": "layer", "over": "sample"})


@pytest.mark.parametrize(
    ("architecture", "norm", "words"),
    [
        (sequential({"name": "activation"}), "batch", '{"name": "norm"}'),
        (sequential({"name": "activation"}), "evonorm_b0", '{"name": "norm"}'),
        (sequential({"name": "norm"}), "skip_init", "a residual block"),
        (sequential({"name": "norm"}), "weight", "before the output"),
    ],
    ids=["layer", "fused", "residual", "weight"],
)
def test_a_norm_that_has_no_place_in_the_network_is_refused(architecture, norm, words):
    error = refusal(architecture=architecture, norm={"name": norm})
    assert (error["code"], error["pointer"]) == ("norm_without_effect", "/norm/name")
    assert error["allowed"] == ["none"]
    assert words in error["message"]
    assert make_spec(architecture=architecture, norm={"name": "none"})


def test_standardized_filters_of_a_single_weight_are_refused():
    narrow = CNN | {"kernel": 1}
    error = refusal(architecture=narrow, norm={"name": "weight_standardization"})
    assert (error["code"], error["pointer"]) == ("one_value_per_filter", "/norm/name")
    assert "a wider layer before them" in error["message"]
    assert make_spec(architecture=narrow, dataset={"name": "cifar10"}, norm={"name": "weight_standardization"})


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [
        ({"name": "cnn", "channels": [4] * 5}, "pool4"),
        ({"name": "vgg", "depth": 11}, "pool4"),
        ({"name": "densenet", "depth": 121}, "transition2.pool"),
    ],
    ids=str,
)
def test_a_network_for_larger_images_is_refused_with_both_shapes(architecture, layer):
    error = refusal(architecture=architecture)
    assert (error["code"], error["pointer"]) == ("shape_mismatch", "/architecture")
    assert f"Layer '{layer}" in error["message"]
    assert "does not fit a side of 1" in error["message"]
    assert "images must be larger, or shrink less before it" in error["message"]
    assert "A sample of the data has shape [1, 8, 8]." in error["message"]


def test_a_message_has_the_braces_that_it_was_written_with():
    error = refusal(architecture=sequential({"name": "activation"}))
    assert 'Add a layer {"name": "norm"}, or' in error["message"]


def test_a_network_of_hostile_size_is_looked_at_in_no_time():
    spec = make_spec(architecture={"name": "mlp", "hidden": [65_536] * 256}, norm={"name": "group"})
    assert total_parameters(spec.blueprint()) > 10**12


UNTRACKED = {"name": "batch", "track": False}


def test_without_running_averages_the_test_set_too_has_enough_values_of_each_channel():
    error = refusal(norm=UNTRACKED, dataset={"name": "digits", "test_limit": 1})
    assert (error["code"], error["pointer"]) == ("one_value_per_channel", "/dataset/test_limit")
    assert error["allowed"] == "2 to 360"
    assert all(words in error["message"] for words in ("site norm1 has 1", "at least 2", "leave out track: false"))
    assert make_spec(norm=UNTRACKED, dataset={"name": "digits", "test_limit": 2})
    assert make_spec(norm=UNTRACKED, dataset={"name": "digits"})


@pytest.mark.parametrize(
    ("norm", "architecture"),
    [
        ({"name": "batch"}, mlp(8)),
        ({"name": "layer"}, mlp(8)),
        (UNTRACKED, CNN),
        # Tokens count as samples.
        (UNTRACKED, {"name": "transformer", "patch": 4}),
    ],
    ids=str,
)
def test_one_test_sample_is_enough_for_running_averages_or_several_positions(norm, architecture):
    assert make_spec(norm=norm, architecture=architecture, dataset={"name": "digits", "test_limit": 1})
