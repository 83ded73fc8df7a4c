"""MNIST and CIFAR-10 from the hub's files: one image in 25 of the real ones, so that it takes a moment only."""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from db.datasets import DATASETS, DatasetInfo
from worker.data import cache
from worker.data.arrays import Arrays

#: Odd: two groups of writers take turns in MNIST.
EVERY = 25


@dataclass(frozen=True)
class Part:
    """A folder with some rows of the real files, and what is decoded from it."""

    info: DatasetInfo
    real: Path
    folder: Path
    arrays: Arrays

    def table(self, split: str) -> pa.Table:
        (file,) = (self.folder / self.info.name).glob(f"{split}-*.parquet")
        return parquet.read_table(file)


@pytest.fixture(scope="module", params=[("mnist", "data_dir"), ("cifar10", "cifar10_dir")], ids=lambda p: p[0])
def part(request, tmp_path_factory) -> Part:
    name, place = request.param
    real = request.getfixturevalue(place)
    real = real if real.name == name else real / name
    folder = tmp_path_factory.mktemp("data")
    (folder / name).mkdir()
    for file in real.glob("**/*.parquet"):
        table = parquet.read_table(file)
        parquet.write_table(table.take(list(range(0, len(table), EVERY))), folder / name / file.name)
    info = DATASETS[name]
    small = replace(info, train_samples=info.train_samples // EVERY, test_samples=info.test_samples // EVERY)
    loaded = cache.load(small, binarize=False, data_dir=folder, cache=folder / "cache")
    return Part(info=info, real=real, folder=folder, arrays=loaded.arrays)


def test_the_real_files_have_the_samples_and_the_column_that_the_catalogue_says(part):
    for split, samples in (("train", part.info.train_samples), ("test", part.info.test_samples)):
        (file,) = part.real.glob(f"**/{split}-*.parquet")
        found = parquet.ParquetFile(file)
        assert found.metadata.num_rows == samples
        assert found.schema_arrow.names == [part.info.image_column, "label"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_decoded_pixel_by_pixel_with_their_labels(part, split):
    inputs, targets = getattr(part.arrays, f"{split}_inputs"), getattr(part.arrays, f"{split}_targets")
    table = part.table(split)
    assert inputs.shape == (len(table), *part.info.shape)
    assert targets.tolist() == table["label"].to_pylist()
    assert set(targets.tolist()) == set(range(part.info.classes))
    for row in range(0, len(table), 97):
        image = Image.open(io.BytesIO(table[part.info.image_column][row]["bytes"].as_py()))
        pixels = np.asarray(image).reshape(*part.info.shape[1:], -1)
        np.testing.assert_array_equal(inputs[row].transpose(1, 2, 0), pixels)


def test_mean_and_deviation_of_each_channel_are_those_of_the_catalogue(part):
    values = part.arrays.train_inputs / part.info.largest_value
    # The means of 2,000 images scatter by 0.003; red and blue of CIFAR-10 differ by 0.04.
    np.testing.assert_allclose(values.mean((0, 2, 3)), part.info.mean, rtol=0, atol=6e-3)
    np.testing.assert_allclose(values.std((0, 2, 3)), part.info.std, rtol=0, atol=6e-3)
