"""Warnings about valid specs: what each says, and that ordinary specs have none."""

import pytest

from db.spec.warnings import RULES, warnings
from models.catalog.registry import norms
from tests.db.support import make_spec

CNN = {"name": "cnn", "channels": [4]}


def found(**changes) -> dict[str, str]:
    """Code and pointer of every warning."""
    return {warning.code: warning.pointer for warning in warnings(make_spec(**changes))}


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
    (warning,) = warnings(make_spec(norm={"name": norm}, batch_size=2))
    assert "site norm1" in warning.message


def test_the_deepest_maps_count_and_not_the_first():
    shrinking = {"name": "cnn", "channels": [4, 4, 4, 4]}
    (warning,) = warnings(make_spec(architecture=shrinking, batch_size=2))
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


DECAY = {"name": "SGD", "weight_decay": 0.1, "decay_norm": True}


def test_weight_decay_of_norms_is_spoken_of_where_there_is_something_to_decay():
    assert found(optimizer=DECAY) == {"decay_of_norms": "/optimizer/decay_norm"}
    assert found(optimizer=DECAY | {"weight_decay": 0.0}) == {}
    assert found(optimizer=DECAY | {"decay_norm": False}) == {}
    assert found(optimizer=DECAY, norm={"name": "none"}) == {}
    assert found(optimizer=DECAY, norm={"name": "batch", "affine": False}) == {}


@pytest.mark.parametrize("norm", ["batch", "evonorm_b0", "layer", "none"])
def test_accumulation_is_spoken_of_where_the_batch_is_normalized(norm):
    optimizer = {"name": "SGD", "accumulate": 4}
    expected = {"accumulated_batches": "/optimizer/accumulate"} if norms()[norm].uses_batch else {}
    assert found(norm={"name": norm}, optimizer=optimizer) == expected
    assert found(norm={"name": norm}, optimizer=optimizer | {"accumulate": 1}) == {}


def test_every_warning_is_said_at_once():
    optimizer = DECAY | {"accumulate": 2}
    assert len(found(norm={"name": "sync_batch"}, batch_size=2, optimizer=optimizer)) == len(RULES) - 1
