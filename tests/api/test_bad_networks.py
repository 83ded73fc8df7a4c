"""Wrong networks and norms over HTTP: the field, what is allowed, and the way out; nothing is stored."""

import pytest

from api.limits import GIB, check_memory, too_large
from api.problems import ProblemError
from db.memory import training_memory
from tests.api.test_bad_input import changed, count_jobs, problem
from tests.db.support import make_spec

CONV = {"name": "conv", "channels": 8, "kernel": 3, "padding": 1}
NORM = {"name": "norm"}
OUTPUT = {"name": "linear", "units": 10}


def sequential(*layers):
    return {"name": "sequential", "layers": list(layers)}


def cnn(*channels):
    return {"name": "cnn", "channels": list(channels)}


@pytest.mark.parametrize(
    ("spec", "pointer", "code", "words"),
    [
        (
            changed(architecture=cnn(32, 48), norm={"name": "group", "groups": 32}),
            "/norm/groups",
            "channels_not_divisible",
            "Take 1, 2, 4, 8 or 16",
        ),
        (
            changed(architecture=cnn(4, 4, 4, 4), norm={"name": "instance"}),
            "/norm/name",
            "one_value_per_channel",
            "larger maps",
        ),
        (changed(norm={"name": "instance"}), "/norm/name", "norm_not_taken", "Choose one of none, batch"),
        (
            changed(norm={"name": "layer", "position": "norm_first"}),
            "/norm/position",
            "position_not_taken",
            "auto",
        ),
        (changed(batch_size=1, norm={"name": "batch"}), "/batch_size", "one_value_per_channel", "a larger batch"),
        (
            changed(batch_size=33, norm={"name": "ghost_batch", "size": 32}),
            "/norm/size",
            "chunk_of_one",
            "or change batch_size",
        ),
        (changed(architecture=cnn(4, 4, 4, 4, 4)), "/architecture", "shape_mismatch", "[1, 8, 8]"),
        (
            changed(architecture=sequential(CONV, NORM, OUTPUT)),
            "/architecture/layers/2",
            "shape_mismatch",
            "'linear2' (linear) does not take samples of shape [8, 8, 8]: it takes vectors, [features]; flatten",
        ),
        (
            changed(architecture=sequential(NORM, {"name": "residual", "layers": [CONV]}, OUTPUT)),
            "/architecture/layers/1",
            "shape_mismatch",
            "its branch gives [8, 8, 8], its shortcut [1, 8, 8]",
        ),
        (
            changed(architecture=sequential({"name": "flatten"}, OUTPUT), norm={"name": "batch"}),
            "/norm/name",
            "norm_without_effect",
            'Add a layer {"name": "norm"}',
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_wrong_combination_is_refused_with_the_reason_and_the_way_out(http, spec, pointer, code, words):
    before = count_jobs(http)
    for path in ("/v1/jobs", "/v1/jobs/plan"):
        document = problem(http.post(path, json=spec), 422)
        assert document["code"] == "invalid_spec"
        ((found),) = document["errors"]
        assert (found["pointer"], found["code"]) == (pointer, code)
        assert words in found["message"], found
        assert found["message"] in document["detail"]
    assert count_jobs(http) == before


@pytest.mark.parametrize(
    ("layers", "pointer", "allowed", "suggestion"),
    [
        ([{"name": "conf"}], "/architecture/layers/0/name", "conv", "conv"),
        (
            [{"name": "residual", "layers": [{"name": "nrom"}]}],
            "/architecture/layers/0/layers/0/name",
            "norm",
            "norm",
        ),
        ([CONV | {"kernal": 3}], "/architecture/layers/0/kernal", "kernel", "kernel"),
        ([CONV | {"kernel": 0}], "/architecture/layers/0/kernel", "at least 1", None),
        (
            [{"name": "pool", "pool": "mean", "kernel": 2}],
            "/architecture/layers/0/pool",
            "max",
            None,
        ),
        (
            [{"name": "residual", "layers": [], "shortcut": [{"name": "activation", "activation": "rleu"}]}],
            "/architecture/layers/0/shortcut/0/activation",
            "relu",
            "relu",
        ),
        (["norm"], "/architecture/layers/0", "norm", '{"name": "norm"}'),
        ([NORM] * 257, "/architecture/layers", "1 to 256 layers", None),
    ],
    ids=str,
)
def test_a_wrong_option_of_a_declared_layer_is_named_where_it_stands(http, layers, pointer, allowed, suggestion):
    document = problem(http.post("/v1/jobs", json=changed(architecture=sequential(*layers))), 422)
    ((found),) = document["errors"]
    assert found["pointer"] == pointer
    assert allowed in found["allowed"]
    if suggestion is not None:
        assert suggestion in found["suggestion"]


def test_blocks_that_stand_too_deep_are_refused_however_deep(http):
    codes = []
    for depth in (5, 11, 16, 100):
        layer = NORM
        for _ in range(depth):
            layer = {"name": "residual", "layers": [layer]}
        document = problem(http.post("/v1/jobs", json=changed(architecture=sequential(layer))), 422)
        codes.append(document["errors"][0]["code"])
    # The deepest of them is refused as a body, before there is a spec.
    assert codes == ["too_deep"] * 4


def test_a_network_too_large_for_the_memory_is_refused_with_estimate_and_limit(http, settings):
    before = count_jobs(http)
    huge = changed(architecture={"name": "mlp", "hidden": [65_536] * 256})
    document = problem(http.post("/v1/jobs", json=huge), 422)
    assert document["code"] == "network_too_large"
    ((found),) = document["errors"]
    assert (found["pointer"], found["code"]) == ("/architecture", "network_too_large")
    assert f"a job may {settings.memory_limit_bytes / GIB:.3g} GiB" in found["message"]
    assert "take a smaller network" in found["message"]
    assert count_jobs(http) == before


def test_a_batch_too_large_for_the_memory_is_refused_with_the_largest_that_fits(http):
    large = changed(dataset={"name": "mnist"}, architecture=cnn(8192), norm={"name": "batch"}, batch_size=60_000)
    ((found),) = problem(http.post("/v1/jobs", json=large), 422)["errors"]
    assert (found["pointer"], found["code"]) == ("/batch_size", "network_too_large")
    least, _, most = found["allowed"].partition(" to ")
    assert f"a batch of at most {most} fits" in found["message"]
    plan = http.post("/v1/jobs/plan", json=large | {"batch_size": int(most)}).json()
    assert plan["memory_bytes"] <= plan["memory_limit_bytes"]
    assert http.post("/v1/jobs", json=large | {"batch_size": int(least)}).status_code == 201
    assert http.post("/v1/jobs", json=large | {"batch_size": int(most) + 1}).status_code == 422


def test_the_limit_is_that_of_the_settings_to_the_byte():
    spec = make_spec()
    needed = training_memory(spec).total
    check_memory(spec, needed)
    with pytest.raises(ProblemError) as refused:
        check_memory(spec, needed - 1)
    assert (refused.value.status, refused.value.code) == (422, "network_too_large")


def test_the_optimizer_counts():
    sizes = [
        training_memory(make_spec(optimizer=optimizer)).optimizer
        for optimizer in ({"name": "SGD"}, {"name": "SGD", "momentum": 0.9}, {"name": "AdamW"})
    ]
    parameters = training_memory(make_spec()).parameters
    assert sizes == [0, parameters, 2 * parameters]


def test_the_part_on_which_most_is_evaluated_counts():
    few = {"dataset": {"name": "digits", "test_limit": 2}, "evaluate": {"train_samples": 2}, "batch_size": 2}
    held_out = few | {"dataset": {"name": "digits", "test_limit": 2, "validation_fraction": 0.5}}
    two, many = (training_memory(make_spec(**changes)).evaluation for changes in (few, held_out))
    assert many == two * 718 / 2


@pytest.mark.parametrize(("norm", "pointer"), [("batch", "/architecture"), ("layer", "/batch_size")])
def test_a_batch_of_one_is_a_way_out_only_with_norms_that_do_not_use_the_batch(norm, pointer):
    few = {"dataset": {"name": "digits", "test_limit": 2}, "evaluate": {"train_samples": 2}}
    spec = make_spec(norm={"name": norm}, architecture=cnn(8), batch_size=3, **few)
    memory = training_memory(spec)
    assert memory.sample > memory.checkpoint
    assert too_large(spec, memory.fixed + max(memory.sample, memory.evaluation)).pointer == pointer
