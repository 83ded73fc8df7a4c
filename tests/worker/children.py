# ruff: noqa: T201 - printing is what they are for
"""What child processes of the tests do: in a module of their own, so that they begin with few imports."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

from worker.child_output import OutputEnds, redirected


def write_everywhere(ends: OutputEnds) -> None:
    with redirected(ends):
        print("printed")
        print("unfinished", end="")
        sys.stderr.write("on stderr\n")
        os.write(2, b"by descriptor\n")
        subprocess.run(["echo", "from a child of its own"], check=True)
        warnings.warn("of two\nlines", RuntimeWarning, stacklevel=1)


def print_in_c_and_be_killed(ends: OutputEnds) -> None:
    with redirected(ends):
        print("printed")
        ctypes.CDLL(None).puts(b"from C")
        os.kill(os.getpid(), signal.SIGKILL)


def write_bytes(ends: OutputEnds, data: bytes) -> None:
    with redirected(ends), os.fdopen(os.dup(1), "wb") as out:
        out.write(data)


def log_and_fail(ends: OutputEnds, stderr: Path) -> None:
    """With a file in place of the standard error that the process was born with."""
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
    with redirected(ends):
        logging.getLogger("normlab").warning("of the inside")
        thread = threading.Thread(target=_fail, args=["in a thread"], name="helper")
        thread.start()
        thread.join()
        _fail("at last")


def leave_a_process_behind(ends: OutputEnds) -> None:
    with redirected(ends):
        subprocess.Popen(["sleep", "2"])
        print("printed")


def tell_the_time(ends: OutputEnds) -> None:
    with redirected(ends):
        print(time.time())


def _fail(message: str) -> None:
    raise RuntimeError(message)
