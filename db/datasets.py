"""The data sets that a job may name: what they hold, before any of it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from models.catalog.registry import load_plugins

#: Entry points of this group add data sets.
GROUP = "normlab.datasets"


class Task(StrEnum):
    """What a data set is for."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class DatasetName(StrEnum):
    """The data sets that come with normlab, by the name that a spec gives."""

    DIGITS = "digits"
    MNIST = "mnist"
    CIFAR10 = "cifar10"
    GAUSSIAN_LINEAR = "gaussian_linear"


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What the catalogue says of a data set, and what a submission is checked against.

    Inputs are pixels, uint8 from 0 to `largest_value`, or any numbers, float32. Targets are classes, int64 from 0,
    or numbers to predict, float32 of shape (N, outputs).
    """

    name: str
    summary: str
    source: str
    #: Shape of one sample: channels, height, width.
    shape: tuple[int, int, int]
    task: Task = Task.CLASSIFICATION
    #: Classes, or numbers to predict.
    outputs: int
    train_samples: int
    test_samples: int
    #: The largest raw value of pixels, by which inputs are divided; none where inputs are any numbers.
    largest_value: int | None = None
    #: Mean and standard deviation of each channel of the training inputs, after that division if there is one.
    mean: tuple[float, ...]
    std: tuple[float, ...]
    #: Name on the Hugging Face hub, for data that does not come with the service.
    hub_name: str | None = None
    image_column: str = "image"

    def __post_init__(self) -> None:
        channels = self.shape[0]
        if len(self.mean) != channels or len(self.std) != channels or min(self.std) <= 0:
            raise ValueError(f"mean and std of data set '{self.name}' are not one number for each channel")

    @property
    def classes(self) -> int | None:
        """How many there are; none in regression."""
        return self.outputs if self.task is Task.CLASSIFICATION else None

    @property
    def scale(self) -> float:
        """The factor of raw inputs."""
        return 1.0 if self.largest_value is None else 1.0 / self.largest_value

    @property
    def threshold(self) -> int:
        """Binarized, pixels of at least this become 1: half of the largest, rounded up.

        Raises:
            ValueError: the inputs are no pixels.
        """
        if self.largest_value is None:
            raise ValueError(f"the inputs of data set '{self.name}' are no pixels")
        return (self.largest_value + 1) // 2


@dataclass(frozen=True, kw_only=True)
class DatasetPlugin:
    """A data set of an installed package: the object that an entry point of the group `normlab.datasets` names."""

    info: DatasetInfo
    #: `module:function`, which returns `worker.data.arrays.Arrays`; only workers import it. The decoded data are
    #: kept until the package's version changes.
    load: str


_INFOS = (
    DatasetInfo(
        name=DatasetName.DIGITS,
        summary="8x8 grey images of handwritten digits; comes with the service, needs no network.",
        source="scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits); "
        "split once by class with a fixed seed",
        shape=(1, 8, 8),
        outputs=10,
        train_samples=1437,
        test_samples=360,
        largest_value=16,
        mean=(0.3054,),
        std=(0.3761,),
    ),
    DatasetInfo(
        name=DatasetName.MNIST,
        summary="28x28 grey images of handwritten digits.",
        source="LeCun, Cortes, Burges; from NORMLAB_DATA_DIR/mnist or the hub's ylecun/mnist",
        shape=(1, 28, 28),
        outputs=10,
        train_samples=60_000,
        test_samples=10_000,
        largest_value=255,
        mean=(0.1307,),
        std=(0.3081,),
        hub_name="ylecun/mnist",
    ),
    DatasetInfo(
        name=DatasetName.CIFAR10,
        summary="32x32 colour images of ten kinds of animals and vehicles.",
        source="Krizhevsky 2009; from NORMLAB_DATA_DIR/cifar10 or the hub's uoft-cs/cifar10",
        shape=(3, 32, 32),
        outputs=10,
        train_samples=50_000,
        test_samples=10_000,
        largest_value=255,
        mean=(0.4913, 0.4821, 0.4465),
        std=(0.2452, 0.2428, 0.2606),
        hub_name="uoft-cs/cifar10",
        image_column="img",
    ),
    DatasetInfo(
        name=DatasetName.GAUSSIAN_LINEAR,
        summary="10 standard normal numbers x, to predict the 10 numbers A x of one fixed random matrix A; a "
        "regression for deep linear networks. Comes with the service, needs no network.",
        source="Santurkar et al. 2018 (arXiv 1805.11604), deep linear network; drawn with a fixed seed",
        # Each number is a channel, which a norm of the inputs would take by itself.
        shape=(10, 1, 1),
        task=Task.REGRESSION,
        outputs=10,
        train_samples=1000,
        test_samples=1000,
        mean=(-0.0138, 0.0173, -0.0321, -0.0472, -0.0449, -0.0458, -0.0115, -0.0475, -0.0099, 0.0554),
        std=(1.0151, 0.9831, 0.9995, 0.9657, 0.9926, 0.9912, 0.9457, 1.0096, 1.0038, 0.9584),
    ),
)

DATASETS: dict[str, DatasetInfo] = {info.name: info for info in _INFOS}


@cache
def dataset_plugins() -> Mapping[str, DatasetPlugin]:
    """Data sets of installed packages."""
    return load_plugins(GROUP, DatasetPlugin, DATASETS)


@cache
def datasets() -> Mapping[str, DatasetInfo]:
    """All data sets by name."""
    return DATASETS | {name: plugin.info for name, plugin in dataset_plugins().items()}
