"""Data in a folder laid out as the hub lays it out, and what is said where there is none."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from db.datasets import DATASETS, DatasetInfo, DatasetName
from worker.data import cache
from worker.data.arrays import Arrays
from worker.errors import DataError

MNIST = DATASETS[DatasetName.MNIST]
TRAIN, TEST = 40, 20
TINY = replace(MNIST, train_samples=TRAIN, test_samples=TEST)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


FEATURES = {"image": {"_type": "Image"}, "label": {"names": [str(n) for n in range(10)], "_type": "ClassLabel"}}
SCHEMA = pa.schema(
    {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()},
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def write_part(path: Path, pixels: np.ndarray, labels: list[int]) -> None:
    """As the hub's own files are: images as PNG bytes, and in the metadata what the columns mean."""
    images = [{"bytes": png(each), "path": None} for each in pixels]
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"image": images, "label": labels}, schema=SCHEMA), path)


@pytest.fixture
def images() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        split: random.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
        for split, count in (("train", TRAIN), ("test", TEST))
    }


@pytest.fixture
def data_dir(tmp_path, images) -> Path:
    folder = tmp_path / "data"
    for split, pixels in images.items():
        labels = [row % 10 for row in range(len(pixels))]
        write_part(folder / "mnist" / f"{split}-00000-of-00001.parquet", pixels, labels)
    return folder


def load(data_dir: Path, info: DatasetInfo = TINY, *, binarize: bool = False) -> Arrays:
    return cache.load(info, binarize=binarize, data_dir=data_dir, cache=data_dir.parent / "cache").arrays


def entries(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir.parent / "cache").glob("mnist-*") if path.is_dir())


def test_a_folder_is_decoded_pixel_by_pixel_in_its_own_order(data_dir, images):
    arrays = load(data_dir)
    np.testing.assert_array_equal(arrays.train_inputs[:, 0], images["train"])
    np.testing.assert_array_equal(arrays.test_inputs[:, 0], images["test"])
    assert arrays.train_targets.tolist() == [row % 10 for row in range(TRAIN)]
    binary = load(data_dir, binarize=True)
    np.testing.assert_array_equal(binary.train_inputs[:, 0], images["train"] >= 128)


def test_files_that_change_are_decoded_anew(data_dir, images):
    load(data_dir)
    write_part(data_dir / "mnist" / "test-00000-of-00001.parquet", images["test"], [7] * TEST)
    assert load(data_dir).test_targets.tolist() == [7] * TEST
    assert len(entries(data_dir)) == 2


def test_a_wrong_number_of_samples_is_refused_with_both_numbers(data_dir):
    with pytest.raises(DataError) as refused:
        load(data_dir, MNIST)
    message = str(refused.value)
    assert all(number in message for number in ("40", "20", "60000", "10000"))
    assert "ylecun/mnist" in refused.value.hint
    assert entries(data_dir) == []


def test_images_of_another_size_are_refused_with_the_folder(data_dir, images):
    small = images["test"][:, :14, :14]
    write_part(data_dir / "mnist" / "test-00000-of-00001.parquet", small, [0] * TEST)
    with pytest.raises(DataError, match="mnist") as refused:
        load(data_dir)
    assert str(data_dir / "mnist") in str(refused.value)


def test_labels_that_are_no_class_are_refused(data_dir, images):
    write_part(data_dir / "mnist" / "test-00000-of-00001.parquet", images["test"], [10] * TEST)
    with pytest.raises(DataError):
        load(data_dir)


def test_files_that_cannot_be_read_are_refused_with_the_folder(tmp_path):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        (folder / f"{split}-00000-of-00001.parquet").write_bytes(b"PAR1 this is no parquet file")
    with pytest.raises(DataError) as refused:
        load(tmp_path / "data")
    assert str(folder) in str(refused.value)
    assert refused.value.code == "data_error"


MISSING = """
import sys
from pathlib import Path
from db.datasets import DATASETS, DatasetName
from worker.data import cache
from worker.errors import DataError
folder = Path(sys.argv[1])
try:
    cache.load(DATASETS[DatasetName.MNIST], binarize=False, data_dir=folder / "data", cache=folder / "cache")
except DataError as error:
    print(error)
    print(error.hint)
"""


def test_a_missing_folder_without_a_network_is_named_in_the_advice(tmp_path):
    # The library reads HF_HUB_OFFLINE when it is imported.
    done = subprocess.run(
        [sys.executable, "-c", MISSING, str(tmp_path)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    message, hint = done.stdout.splitlines()
    assert "'mnist'" in message
    assert "ylecun/mnist" in message
    assert str(tmp_path / "data" / "mnist") in hint
    assert "NORMLAB_DATA_DIR" in hint
    assert not list((tmp_path / "cache").glob("mnist-*/"))
