"""Which data a job trains on."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from db.datasets import DatasetInfo, datasets
from db.spec.base import Count, Flag, Part
from db.spec.errors import spec_error

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[tuple(str(name) for name in datasets())]


class Dataset(Part):
    """A data set and what is done to it before training."""

    name: Name
    binarize: Flag = False
    """Set pixels of at least half the largest value to 1, the others to 0; for grey images."""
    standardize: Flag = False
    """Subtract the mean of the training data and divide by its standard deviation, each channel by its own."""
    train_limit: Count | None = None
    """Train on this many samples, the same fixed choice for every job; null for all."""
    test_limit: Count | None = None
    """Evaluate on this many test samples, the same fixed choice for every job; null for all."""
    classes_per_batch: Count | None = None
    """Draw training batches of samples of at most so many classes, other ones in each batch: batches that are not
    independent and identically distributed. Null for batches of all classes."""

    @model_validator(mode="after")
    def _check_binarize(self) -> Self:
        channels = self.info.shape[0]
        if self.binarize and self.info.largest_value is None:
            raise spec_error(
                "not_pixels",
                "/dataset/binarize",
                f"Only pixels are binarized, and the inputs of '{self.name}' are any numbers. Take standardize "
                "instead, or neither.",
                allowed=[False],
            )
        if self.binarize and channels > 1:
            raise spec_error(
                "not_grey",
                "/dataset/binarize",
                f"Only grey images are binarized, and those of '{self.name}' have {channels} channels. Take "
                "standardize instead, or neither.",
                allowed=[False],
            )
        if self.binarize and self.standardize:
            raise spec_error(
                "one_of_two",
                "/dataset/standardize",
                "Inputs are binarized or standardized, not both.",
                allowed=["binarize", "standardize"],
            )
        return self

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        wanted, classes = self.classes_per_batch, self.info.classes
        if wanted is not None and classes is None:
            raise spec_error(
                "no_classes",
                "/dataset/classes_per_batch",
                f"Data set '{self.name}' is for regression and has no classes. Leave classes_per_batch out.",
                allowed=[None],
            )
        if wanted is not None and classes is not None and wanted > classes:
            raise spec_error(
                "too_many_classes",
                "/dataset/classes_per_batch",
                f"Data set '{self.name}' has {classes} classes.",
                allowed=f"1 to {classes}",
            )
        return self

    @property
    def info(self) -> DatasetInfo:
        return datasets()[self.name]

    @property
    def train_samples(self) -> int:
        """Training samples that the job sees."""
        return min(self.train_limit or self.info.train_samples, self.info.train_samples)

    @property
    def test_samples(self) -> int:
        """Test samples that the job is evaluated on."""
        return min(self.test_limit or self.info.test_samples, self.info.test_samples)
