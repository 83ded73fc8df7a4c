"""Which data a job trains on."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from db.datasets import DatasetInfo, datasets
from db.spec.base import Count, Flag, Part
from db.spec.errors import spec_error

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[tuple(str(name) for name in datasets())]

#: Of a part that something is measured on or learned from: one sample has no variance.
LEAST_SAMPLES = 2


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
    validation_fraction: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    """Hold this share of the training samples (of those that train_limit leaves) out of training, the same fixed
    choice for every job, and evaluate on it as validation/...; 0 for no validation part."""
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

    @model_validator(mode="after")
    def _check_validation(self) -> Self:
        limited = self._limited
        if self.validation_fraction and min(self.validation_samples, self.train_samples) < LEAST_SAMPLES:
            most = limited - LEAST_SAMPLES
            raise spec_error(
                "part_too_small",
                "/dataset/validation_fraction",
                f"Of {limited} samples, {self.validation_samples} would be held out and {self.train_samples} left "
                f"to train on. Each part needs at least {LEAST_SAMPLES}.",
                allowed=f"0, or a share that holds out {LEAST_SAMPLES} to {most} of {limited} samples"
                if most >= LEAST_SAMPLES
                else [0],
            )
        return self

    @property
    def info(self) -> DatasetInfo:
        return datasets()[self.name]

    @property
    def train_samples(self) -> int:
        """Samples that the job trains on: without those held out."""
        return self._limited - self.validation_samples

    @property
    def validation_samples(self) -> int:
        """Training samples held out; 0 for no validation part."""
        return round(self.validation_fraction * self._limited)

    @property
    def _limited(self) -> int:
        return min(self.train_limit or self.info.train_samples, self.info.train_samples)

    @property
    def test_samples(self) -> int:
        """Test samples that the job is evaluated on."""
        return min(self.test_limit or self.info.test_samples, self.info.test_samples)
