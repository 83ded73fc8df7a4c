"""What may be done to which data."""

import pytest
from pydantic import ValidationError

from db.datasets import DATASETS, DatasetInfo, DatasetName
from db.spec.dataset import Dataset
from db.spec.job import JobSpec
from tests.db.support import make_spec


def refusal(**values):
    with pytest.raises(ValidationError) as refused:
        Dataset(**values)
    (error,) = refused.value.errors(include_url=False)
    return error


@pytest.mark.parametrize("name", list(DatasetName))
def test_every_data_set_that_comes_with_normlab_is_taken_by_its_name(name):
    dataset = Dataset(name=name.value, standardize=True)
    assert dataset.info is DATASETS[name]
    assert type(dataset.name) is str


def test_an_unknown_name_is_refused_with_the_known_ones():
    error = refusal(name="cifar")
    assert (error["type"], error["loc"]) == ("literal_error", ("name",))
    assert all(name in error["msg"] for name in DatasetName)
    schema = JobSpec.model_json_schema()["$defs"]["Dataset"]["properties"]["name"]
    assert schema["enum"] == ["digits", "mnist", "cifar10", "gaussian_linear"]


@pytest.mark.parametrize(("limit", "expected"), [(None, 360), (100, 100), (10**6, 360)])
def test_limits_leave_no_more_samples_than_there_are(limit, expected):
    assert Dataset(name="digits", test_limit=limit).test_samples == expected
    train = Dataset(name="digits", train_limit=limit).train_samples
    assert train == min(limit or 1437, 1437)


@pytest.mark.parametrize(
    ("limit", "fraction", "held_out"),
    [(None, 0.2, 287), (100, 0.25, 25), (10**6, 0.5, 718), (4, 0.5, 2), (1, 0.0, 0)],
)
def test_a_validation_part_is_taken_from_what_the_limit_leaves(limit, fraction, held_out):
    dataset = Dataset(name="digits", train_limit=limit, validation_fraction=fraction)
    assert dataset.validation_samples == held_out
    assert dataset.train_samples == min(limit or 1437, 1437) - held_out
    assert dataset.test_samples == 360


@pytest.mark.parametrize(
    ("limit", "fraction", "allowed"),
    [
        (None, 0.001, "0, or a share that holds out 2 to 1435 of 1437 samples"),
        (None, 0.9999, "0, or a share that holds out 2 to 1435 of 1437 samples"),
        (4, 0.8, "0, or a share that holds out 2 to 2 of 4 samples"),
        (3, 0.5, [0]),
    ],
)
def test_a_validation_part_leaves_two_samples_in_either_part(limit, fraction, allowed):
    error = refusal(name="digits", train_limit=limit, validation_fraction=fraction)
    assert (error["type"], error["ctx"]["pointer"]) == ("part_too_small", "/dataset/validation_fraction")
    assert error["ctx"]["allowed"] == allowed


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, "0.1", None])
def test_a_validation_part_is_a_share_below_one(fraction):
    assert refusal(name="digits", validation_fraction=fraction)["loc"] == ("validation_fraction",)


def test_all_that_counts_training_samples_counts_those_that_are_left():
    dataset = {"name": "digits", "train_limit": 100, "validation_fraction": 0.2}
    assert make_spec(dataset=dataset, batch_size=40).batches_per_epoch() == 2
    assert make_spec(dataset=dataset, batch_size=80, steps=None, epochs=3).total_steps() == 3
    error = refused_job(dataset=dataset, batch_size=81)
    assert (error["type"], error["ctx"]["allowed"]) == ("batch_too_large", "1 to 80")


def test_colour_images_are_not_binarized():
    error = refusal(name="cifar10", binarize=True)
    assert (error["type"], error["ctx"]["pointer"]) == ("not_grey", "/dataset/binarize")
    assert "3 channels" in error["msg"]
    assert Dataset(name="mnist", binarize=True).binarize


def test_inputs_are_binarized_or_standardized_but_not_both():
    error = refusal(name="mnist", binarize=True, standardize=True)
    assert (error["type"], error["ctx"]["pointer"]) == ("one_of_two", "/dataset/standardize")


def test_cifar10_goes_with_a_network_of_its_shape_and_classes():
    blueprint = make_spec(dataset={"name": "cifar10"}, architecture={"name": "cnn"}).blueprint()
    assert (blueprint.input_shape, blueprint.outputs) == ((3, 32, 32), 10)


@pytest.mark.parametrize(
    "moments", [{"mean": (0.5,)}, {"std": (1.0, 1.0)}, {"std": (1.0, 1.0, 0.0)}], ids=lambda m: repr(m)
)
def test_moments_that_do_not_go_with_the_channels_are_refused(moments):
    values = {"mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0)} | moments
    with pytest.raises(ValueError, match="one number for each channel"):
        DatasetInfo(
            name="x",
            summary="",
            source="",
            shape=(3, 2, 2),
            outputs=2,
            train_samples=2,
            test_samples=2,
            largest_value=1,
            **values,
        )


def test_inputs_that_are_no_pixels_are_not_binarized():
    error = refusal(name="gaussian_linear", binarize=True)
    assert (error["type"], error["ctx"]["pointer"]) == ("not_pixels", "/dataset/binarize")
    assert DATASETS["gaussian_linear"].scale == 1
    with pytest.raises(ValueError, match="no pixels"):
        _ = DATASETS["gaussian_linear"].threshold
    assert Dataset(name="gaussian_linear", standardize=True).standardize


@pytest.mark.parametrize(
    ("values", "code", "allowed"),
    [
        ({"name": "digits", "classes_per_batch": 11}, "too_many_classes", "1 to 10"),
        ({"name": "gaussian_linear", "classes_per_batch": 1}, "no_classes", [None]),
    ],
)
def test_a_batch_holds_no_more_classes_than_the_data_have(values, code, allowed):
    error = refusal(**values)
    assert (error["type"], error["ctx"]["pointer"]) == (code, "/dataset/classes_per_batch")
    assert error["ctx"]["allowed"] == allowed
    assert Dataset(name="digits", classes_per_batch=10).classes_per_batch == 10


def refused_job(**changes):
    with pytest.raises(ValidationError) as refused:
        make_spec(**changes)
    (error,) = refused.value.errors(include_url=False)
    return error


def test_the_classes_of_a_batch_divide_its_size():
    error = refused_job(dataset={"name": "digits", "classes_per_batch": 3}, batch_size=32)
    assert (error["type"], error["ctx"]["pointer"]) == ("classes_do_not_divide", "/dataset/classes_per_batch")
    assert error["ctx"]["allowed"] == [1, 2, 4, 8]
    for wanted in error["ctx"]["allowed"]:
        make_spec(dataset={"name": "digits", "classes_per_batch": wanted}, batch_size=32)


@pytest.mark.parametrize(
    ("dataset", "changes", "code", "pointer", "allowed"),
    [
        ("digits", {"task": "regression"}, "task_not_taken", "/task", ["classification"]),
        ("gaussian_linear", {"task": "classification"}, "task_not_taken", "/task", ["regression"]),
        ("digits", {"loss": {"name": "mse"}}, "loss_not_taken", "/loss/name", ["auto", "cross_entropy"]),
        ("gaussian_linear", {"loss": {"name": "cross_entropy"}}, "loss_not_taken", "/loss/name", ["auto", "mse"]),
    ],
)
def test_a_task_or_loss_that_the_data_are_not_for_is_refused(dataset, changes, code, pointer, allowed):
    error = refused_job(dataset={"name": dataset}, **changes)
    assert (error["type"], error["ctx"]["pointer"], error["ctx"]["allowed"]) == (code, pointer, allowed)


def test_a_network_ends_in_the_numbers_to_predict():
    spec = make_spec(dataset={"name": "gaussian_linear"}, architecture={"name": "mlp", "hidden": [10] * 24})
    assert (spec.blueprint().input_shape, spec.blueprint().outputs) == ((10, 1, 1), 10)
    layers = [{"name": "norm"}, {"name": "flatten"}, {"name": "linear", "units": 9}]
    error = refused_job(dataset={"name": "gaussian_linear"}, architecture={"name": "sequential", "layers": layers})
    assert error["type"] == "shape_mismatch"
    assert "10 numbers to predict" in error["msg"]
    layers[-1]["units"] = 10
    make_spec(dataset={"name": "gaussian_linear"}, architecture={"name": "sequential", "layers": layers})
