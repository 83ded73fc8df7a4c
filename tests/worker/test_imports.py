"""What a process loads: the API and the supervisor no torch, the loop no database, no queue and no web."""

import json
import os
import subprocess
import sys

import pytest

CASES = {
    "the API and the supervisor": (
        ["api.main", "worker.queue", "worker.supervisor", "worker.housekeeping", "worker.child"],
        {"torch", "datasets", "pyarrow", "sklearn", "safetensors"},
    ),
    "the loop": (
        ["worker.trainer", "worker.recorder", "worker.evaluate", "worker.statistics", "worker.precise"],
        {"sqlalchemy", "alembic", "celery", "kombu", "fastapi", "pydantic", "obstore"},
    ),
}
LIST_MODULES = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


@pytest.mark.parametrize("case", CASES)
def test_a_process_loads_only_its_own_libraries(case, tmp_path):
    modules, forbidden = CASES[case]
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(modules)}; {LIST_MODULES}"],
        env=os.environ | {"NORMLAB_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(done.stdout))
    assert {module.partition(".")[0] for module in modules} <= loaded
    assert loaded & forbidden == set()
