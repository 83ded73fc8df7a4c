"""`POST /v1/jobs/plan`: what a job would be, and nothing is stored."""

import pytest

from db.spec.job import JobSpec
from models.build import build
from models.shapes import sites
from tests.api.test_bad_input import SPEC, changed, count_jobs, problem

RESNET = changed(
    dataset={"name": "cifar10"},
    architecture={"name": "resnet", "depth": 20},
    norm={"name": "batch"},
    batch_size=128,
)


def plan(http, spec):
    answer = http.post("/v1/jobs/plan", json=spec)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_plan_has_the_resolved_spec_and_its_hash_as_the_job_would(http):
    answer, job = plan(http, SPEC), http.post("/v1/jobs", json=SPEC).json()
    assert answer["resolved"] == job["resolved"]
    assert answer["spec_hash"] == job["spec_hash"]
    assert answer["steps"] == job["progress"]["steps"] == 10
    assert set(answer) == {
        "resolved",
        "spec_hash",
        "steps",
        "layers",
        "parameters",
        "operations",
        "sites",
        "memory_bytes",
        "memory_limit_bytes",
        "warnings",
    }


def test_nothing_is_stored(http):
    before = count_jobs(http)
    plan(http, SPEC)
    assert count_jobs(http) == before


def test_epochs_become_steps(http):
    # 1,437 training samples are 24 batches of 60, the last of them ragged.
    assert plan(http, changed(steps=..., epochs=3))["steps"] == 72


def test_parameters_and_operations_of_the_papers_network_are_those_by_hand(http):
    paper = changed(
        dataset={"name": "mnist"},
        architecture={"name": "mlp", "hidden": [100, 100, 100], "activation": "sigmoid"},
        norm={"name": "batch"},
    )
    answer = plan(http, paper)
    assert answer["parameters"] == 784 * 100 + 2 * 100 * 100 + 3 * 2 * 100 + 100 * 10 + 10
    # One for each weight, and one for each value of the norms and activations.
    assert answer["operations"] == 784 * 100 + 2 * 100 * 100 + 100 * 10 + 3 * 2 * 100
    # flatten, three times linear, norm and activation, output
    assert answer["layers"] == 11
    assert answer["sites"] == [
        {
            "name": f"norm{depth}",
            "norm": "batch",
            "channels": 100,
            "positions": 1,
            "moments": 100,
            "time_steps": None,
        }
        for depth in (1, 2, 3)
    ]


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "evonorm_s0", "skip_init"])
def test_a_plan_counts_what_the_built_network_has(http, norm):
    options = {"groups": 8} if norm in ("group", "evonorm_s0") else {}
    spec = RESNET | {"norm": {"name": norm, **options}}
    answer = plan(http, spec)
    blueprint = JobSpec.model_validate(spec).blueprint()
    module = build(blueprint)
    assert answer["parameters"] == sum(parameter.numel() for parameter in module.parameters())
    assert [site["name"] for site in answer["sites"]] == [site.name for site in sites(blueprint)]
    assert {site["moments"] for site in answer["sites"]} == {
        "batch": {16, 32, 64},
        "group": {8},
        "layer": {1},
        "evonorm_s0": {8},
        "skip_init": {16, 32, 64},
    }[norm]


def test_sites_of_recurrent_networks_have_time_steps(http):
    answer = plan(http, changed(architecture={"name": "lstm", "hidden": [16]}, norm={"name": "batch"}))
    assert [(site["name"], site["channels"], site["time_steps"]) for site in answer["sites"]] == [
        ("lstm1.norm_input", 64, 8),
        ("lstm1.norm_hidden", 64, 8),
        ("lstm1.norm_cell", 16, 8),
    ]


def test_memory_grows_with_the_batch_and_stays_within_the_limit(http, settings):
    small, large = (plan(http, RESNET | {"batch_size": size}) for size in (128, 256))
    assert small["memory_limit_bytes"] == large["memory_limit_bytes"] == settings.memory_limit_bytes
    # ResNet-20 keeps two maps of each convolution: 19 of them, 16 x 32 x 32 each in the first stage.
    assert 200 << 20 < small["memory_bytes"] < 500 << 20
    assert 1.9 < large["memory_bytes"] / small["memory_bytes"] < 2


def test_a_job_without_a_doubt_has_no_warnings(http):
    assert plan(http, SPEC)["warnings"] == []


def test_warnings_name_the_field_and_say_what_happens(http):
    doubtful = changed(
        norm={"name": "sync_batch"},
        dataset={"name": "digits", "train_limit": 1400},
        batch_size=2,
        steps=100,
        optimizer={"name": "SGD", "weight_decay": 0.1, "decay_norm": True, "accumulate": 4},
    )
    found = {warning["code"]: warning for warning in plan(http, doubtful)["warnings"]}
    assert {code: warning["pointer"] for code, warning in found.items()} == {
        "sync_in_one_process": "/norm/name",
        "two_values_per_channel": "/batch_size",
        "decay_of_norms": "/optimizer/decay_norm",
        "accumulated_batches": "/optimizer/accumulate",
    }
    assert all(warning["message"].endswith(".") for warning in found.values())
    assert [found[code]["severity"] for code in ("sync_in_one_process", "decay_of_norms")] == ["info", "warn"]


def test_a_network_over_the_limit_has_a_plan_that_says_so(http):
    answer = plan(http, changed(architecture={"name": "mlp", "hidden": [65_536] * 256}))
    assert answer["memory_bytes"] > answer["memory_limit_bytes"]
    (warning,) = answer["warnings"]
    assert (warning["code"], warning["pointer"]) == ("network_too_large", "/architecture")


def test_a_wrong_spec_has_no_plan(http):
    document = problem(http.post("/v1/jobs/plan", json=changed(norm={"name": "bacth"})), 422)
    assert [error["pointer"] for error in document["errors"]] == ["/norm/name"]
