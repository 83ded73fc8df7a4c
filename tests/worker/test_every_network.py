"""Every network with every norm that it takes, at every position: one real training step of each."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.blueprint import from_json, to_json
from models.build import build
from models.catalog.names import Architecture
from models.shapes import sites, total_parameters
from tests.worker.networks import BATCH, REFUSED, combinations, noise_images, small_network, standardized_alone
from tests.worker.support import CPU, Kept
from worker.assembly import make_run
from worker.statistics import norm_of
from worker.trainer import train

cases = [(*names, {}) for names in combinations()] + [(*names, {"groups": None}) for names in standardized_alone()]
everything = pytest.mark.parametrize(
    ("architecture", "norm", "position", "options"),
    cases,
    ids=["-".join([*names, *("alone" for _ in options)]) for *names, options in cases],
)


# What goes out and comes back is the same at every position.
at_one_position = pytest.mark.parametrize(
    ("architecture", "norm", "position", "options"),
    {names[:2]: (*names, {}) for names in combinations()}.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)


@pytest.fixture(scope="module")
def images():
    return noise_images()


def test_a_small_one_of_every_network_is_known():
    assert {architecture for architecture, _, _ in combinations()} == {name.value for name in Architecture}


@pytest.mark.parametrize("combination", sorted(REFUSED), ids=lambda combination: combination[0])
def test_what_is_left_out_here_is_refused_as_a_spec(combination):
    with pytest.raises(ValidationError, match="nothing of the sample would be left"):
        small_network(*combination)


@everything
def test_one_step_changes_every_parameter_that_it_should_and_records_every_site(
    images, architecture, norm, position, options
):
    spec = small_network(architecture, norm, position, **options)
    run, reporter, found = make_run(spec, images, CPU), Kept(), sites(spec.blueprint())
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    assert train(run, reporter, lambda: None) is None

    for name, value in run.model.named_parameters():
        assert value.grad is not None, f"{name} takes no part"
        assert torch.isfinite(value).all(), name
        # Through many layers without a norm a gradient may be too small to move a float32.
        assert not torch.equal(value, before[name]) or value.grad.abs().max() < 1e-5, name
    assert np.isfinite(reporter.series("train/loss")).all()
    evaluation = reporter.streams["evaluation"][0][1]
    assert all(np.isfinite(values).all() for values in evaluation.values()), evaluation
    assert set(reporter.sites) == {site.name for site in found}
    for site in found:
        ((steps, moments, _),) = reporter.sites[site.name]
        assert steps == [1]
        of_step = (site.moments,) if site.time_steps is None else (site.time_steps, site.moments)
        shapes = {"affine": (site.channels,), "activation": (site.channels,), "layer": ()}
        assert any(name.startswith("train.") for name in moments)
        for name, values in moments.items():
            group, _, _ = name.partition(".")
            # Of one batch: it has no noise to show, and the drift from a constant channel is infinite.
            assert group in ("drift", "noise") or np.isfinite(values).all(), (site.name, name)
            assert values.shape == (1, *shapes.get(group, of_step)), (site.name, name)


@at_one_position
def test_eval_mode_is_deterministic_and_state_and_spec_go_out_and_come_back(
    images, architecture, norm, position, options
):
    spec = small_network(architecture, norm, position, **options)
    blueprint = spec.blueprint()
    restored = from_json(json.loads(json.dumps(to_json(blueprint), allow_nan=False)))
    assert restored == blueprint
    torch.manual_seed(0)
    first, second = build(blueprint), build(restored)
    assert total_parameters(blueprint) == sum(p.numel() for p in first.parameters())
    x = torch.randn(BATCH, *blueprint.input_shape)
    first.train()(x)  # spectral norm moves its vectors, batch norm fills its buffers
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        one, again, other = first.eval()(x), first(x), second.eval()(x)
    assert one.shape == (BATCH, blueprint.outputs)
    assert torch.equal(one, again)
    if norm == "batch" and getattr(spec.norm, "track", True):
        assert torch.equal(one, other)
    torch.testing.assert_close(one, other)
    for site in sites(blueprint):
        assert norm_of(first, site) is not None
