"""API and worker on one machine: started together, watched, stopped together."""

import http.client
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from api.settings import ApiSettings
from db.settings import WorkerSettings

#: Seconds after which slow parts are spoken of, and that each has to stop.
START_PATIENCE = 60.0
STOP_TIMEOUT = 60.0

EXAMPLE = """\
normlab is ready at http://{host}:{port} (API documentation: http://{host}:{port}/docs)

Train a network with batch normalization:

  curl -s http://{host}:{port}/v1/jobs -H 'Content-Type: application/json' -d '{{
    "dataset": {{"name": "digits"}},
    "architecture": {{"name": "mlp", "hidden": [100, 100, 100], "activation": "sigmoid"}},
    "norm": {{"name": "batch"}},
    "batch_size": 60,
    "steps": 500
  }}'

Ctrl-C stops it.
"""


def run_all(api: ApiSettings, worker: WorkerSettings) -> int:
    """Run both parts until a signal or until one of them ends; returns the exit code."""
    stop = threading.Event()

    def ask_to_stop(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    ready_file = worker.home / "run" / f"worker-{os.getpid()}.ready"
    ready_file.parent.mkdir(parents=True, exist_ok=True)
    parts = {
        "worker": _start(["worker"], {"NORMLAB_READY_FILE": str(ready_file)}),
        "api": _start(["api.cli", "api"], {}),
    }
    try:
        if _wait_until_ready(api, ready_file, parts, stop):
            print(EXAMPLE.format(host=api.host, port=api.port), flush=True)
        return _watch(parts, stop)
    finally:
        _stop(parts)
        ready_file.unlink(missing_ok=True)


def _start(module: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process alone, which then stops the parts in order.
    return subprocess.Popen(
        [sys.executable, "-m", *module], env={**os.environ, **environment}, start_new_session=True
    )


def _wait_until_ready(
    api: ApiSettings, ready_file: Path, parts: dict[str, subprocess.Popen[bytes]], stop: threading.Event
) -> bool:
    patience = time.monotonic() + START_PATIENCE
    while not stop.wait(0.05):
        if any(part.poll() is not None for part in parts.values()):
            return False
        if ready_file.exists() and _answers(api):
            return True
        if time.monotonic() > patience:
            print(f"Not ready after {START_PATIENCE:.0f} s; still waiting.", file=sys.stderr, flush=True)
            patience = math.inf
    return False


def _answers(api: ApiSettings) -> bool:
    connection = http.client.HTTPConnection(api.host, api.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _watch(parts: dict[str, subprocess.Popen[bytes]], stop: threading.Event) -> int:
    while not stop.wait(0.2):
        for name, part in parts.items():
            if (code := part.poll()) is not None:
                print(f"The {name} ended with exit code {code}; stopping.", file=sys.stderr, flush=True)
                return 1
    return 0


def _stop(parts: dict[str, subprocess.Popen[bytes]]) -> None:
    """SIGTERM to both at once; what does not end in time is killed with its children."""
    for part in parts.values():
        if part.poll() is None:
            part.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT
    for part in parts.values():
        try:
            part.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(part.pid, signal.SIGKILL)
            part.wait()
