"""The data sets that a job may name: what they hold, before any of it is read."""

from dataclasses import dataclass
from enum import StrEnum


class DatasetName(StrEnum):
    """Data sets, by the name that a spec gives."""

    DIGITS = "digits"
    MNIST = "mnist"


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What the catalogue says of a data set, and what a submission is checked against."""

    name: DatasetName
    summary: str
    source: str
    #: Shape of one sample: channels, height, width.
    shape: tuple[int, int, int]
    classes: int
    train_samples: int
    test_samples: int
    #: The largest raw value; inputs are divided by it.
    largest_value: int
    #: Name on the Hugging Face hub, for data that does not come with the service.
    hub_name: str | None = None
    image_column: str = "image"

    @property
    def threshold(self) -> int:
        """Binarized, raw values of at least this become 1: half of the largest, rounded up."""
        return (self.largest_value + 1) // 2


DATASETS: dict[DatasetName, DatasetInfo] = {
    DatasetName.DIGITS: DatasetInfo(
        name=DatasetName.DIGITS,
        summary="8x8 grey images of handwritten digits; comes with the service, needs no network.",
        source="scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits); "
        "split once by class with a fixed seed",
        shape=(1, 8, 8),
        classes=10,
        train_samples=1437,
        test_samples=360,
        largest_value=16,
    ),
    DatasetName.MNIST: DatasetInfo(
        name=DatasetName.MNIST,
        summary="28x28 grey images of handwritten digits.",
        source="LeCun, Cortes, Burges; from NORMLAB_DATA_DIR/mnist or the hub's ylecun/mnist",
        shape=(1, 28, 28),
        classes=10,
        train_samples=60_000,
        test_samples=10_000,
        largest_value=255,
        hub_name="ylecun/mnist",
    ),
}
