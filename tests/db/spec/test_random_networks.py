"""Random networks with random norms: refused by a rule, or built and run."""

import torch
from hypothesis import example, given, settings
from pydantic import ValidationError

from db.spec.job import JobSpec, units_to_record
from db.spec.warnings import warnings
from models.build import build
from models.shapes import sites, total_parameters
from tests.db.spec.strategies import specs


@settings(max_examples=150)
@given(values=specs())
def test_any_network_with_any_norm_is_valid_or_refused_by_a_rule(values):
    try:
        spec = JobSpec.model_validate(values)
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_input=False):
            # What pydantic makes of any other exception of a validator.
            assert error["type"] not in ("value_error", "assertion_error"), error
            assert error.get("ctx", {}).get("pointer", "/").startswith("/")
        return
    resolved = spec.resolved()
    assert JobSpec.model_validate(resolved.to_json()) == resolved
    assert set(units_to_record(spec)) <= {site.name for site in sites(spec.blueprint())}
    assert all(warning.pointer.startswith("/") for warning in warnings(spec))


@settings(max_examples=30)
@given(values=specs())
@example(
    values={
        "dataset": {"name": "digits"},
        "architecture": {"name": "mlp", "hidden": [1]},
        "norm": {"name": "batch_renorm"},
        "batch_size": 2,
        "steps": 10,
    }
)
def test_what_is_valid_can_be_built_and_runs(values):
    try:
        blueprint = JobSpec.model_validate(values).blueprint()
    except ValidationError:
        return
    with torch.device("meta"):
        module = build(blueprint)
        output = module(torch.empty(values["batch_size"], *blueprint.input_shape))
    assert output.shape == (values["batch_size"], blueprint.outputs)
    assert total_parameters(blueprint) == sum(parameter.numel() for parameter in module.parameters())
