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
    assert schema["enum"] == ["digits", "mnist", "cifar10"]


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
            classes=2,
            train_samples=2,
            test_samples=2,
            largest_value=1,
            **values,
        )
