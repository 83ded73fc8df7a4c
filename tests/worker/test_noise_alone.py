"""A job whose norm only adds noise: what is trained, recorded, evaluated and built again of it."""

import json

import numpy as np
import pytest
import torch

from models.blueprint import from_json, to_json
from models.build import build
from models.norms.noisy import NoiseAlone
from tests.worker.support import small_spec, trained

NORM = {"name": "noisy_batch", "normalize": False}
SILENT = {"n_mu": 0.0, "n_sigma": 1.0, "r_mu": 0.0, "r_sigma": 0.0}


@pytest.fixture(scope="module")
def job(digits):
    return trained(digits, norm=NORM, steps=20)


def test_sites_are_recorded_as_of_the_batch_and_nothing_is_stored(job):
    _, kept = job
    assert set(kept.sites) == {"norm1", "norm2"}
    for rows in kept.sites.values():
        for _, moments, _ in rows:
            assert {"train.mean", "train.var"} <= moments.keys()
            assert not [name for name in moments if name.startswith(("eval.", "drift.", "noise."))]


def test_an_evaluation_has_no_noise_and_one_mode(job):
    run, _ = job
    found = run.evaluator.evaluate().metrics
    assert run.evaluator.evaluate().metrics == found
    modes = {name: value for name, value in found.items() if name.startswith("gap/") and name.endswith("/loss")}
    assert len(modes) > 1
    assert set(modes.values()) == {found["gap/eval_mode/loss"]}


def test_training_differs_from_that_without_a_norm_by_the_noise_alone(digits, job):
    plain, silent = (
        trained(digits, norm=norm, steps=20)[1].series("train/loss")
        for norm in ({"name": "none"}, NORM | SILENT | {"affine": False})
    )
    np.testing.assert_array_equal(plain, silent)
    assert not np.isclose(job[1].series("train/loss"), plain).any()


def test_what_leaves_is_built_again_with_the_biases_before_the_noise(job):
    run, _ = job
    blueprint = small_spec(norm=NORM).blueprint()
    again = build(from_json(json.loads(json.dumps(to_json(blueprint)))))
    again.load_state_dict(run.model.state_dict())
    assert type(again.get_submodule("norm1")) is NoiseAlone
    assert again.get_submodule("linear1").bias is not None
    x = torch.rand(4, *blueprint.input_shape)
    assert torch.equal(again.eval()(x), run.model.eval()(x))
