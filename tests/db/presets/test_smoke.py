"""One cell of each preset at the smallest scale, trained as a worker trains it."""

import numpy as np
import pytest
import torch

from db.datasets import DATASETS
from tests.db.presets.test_presets import arms, declaration, each_preset
from tests.worker.support import CPU, Kept
from worker.assembly import make_run
from worker.data import cache
from worker.trainer import train


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    torch.set_num_threads(1)
    return lambda spec: cache.load(
        DATASETS[spec.dataset.name], binarize=spec.dataset.binarize, data_dir=folder, cache=folder
    )


@each_preset
def test_the_last_arm_trains_and_gives_what_is_compared(name, load):
    spec = arms(name, "smoke")[-1][1].resolved()
    kept = Kept()
    assert train(make_run(spec, load(spec), CPU), kept, lambda: None) is None
    target = declaration(name, "smoke").target
    metric = "test/loss" if target is None else target.metric
    assert np.isfinite(kept.series(metric, "evaluation")).all()
    assert kept.steps("evaluation")[-1] == spec.steps
    assert set(kept.probes) == {probe.name for probe in spec.probes}
