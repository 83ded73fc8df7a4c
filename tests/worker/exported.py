"""Exports in folders, and what a process makes of them that has no normlab."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from db.spec.job import JobSpec
from worker import export
from worker.snapshot import Snapshot


def write_export(folder: Path, spec: JobSpec, snapshot: Snapshot, **samples: Tensor) -> None:
    """`config.json` and `model.safetensors`, and `samples.safetensors` to try them with."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(export.config_bytes(spec))
    (folder / "model.safetensors").write_bytes(export.model_bytes(snapshot.weights))
    save_file(samples, folder / "samples.safetensors")


def run_isolated(folder: Path, script: str) -> Any:
    """What a script prints as JSON, run in `folder` beside `modeling.py`, without the checkout on its path."""
    (folder / "modeling.py").write_bytes(export.modeling_bytes())
    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-W", "error", "-c", "import sys; sys.path.insert(0, '')\n" + script],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(folder.rglob("*")) == before
    return json.loads(done.stdout)
