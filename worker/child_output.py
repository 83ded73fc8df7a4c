"""The trainer process's side of its log: where its standard streams and its warnings go. Free of torch."""

import ctypes
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

from db.logs import set_up_logging

log = logging.getLogger(__name__)

STDOUT, STDERR = 1, 2
#: `_IOLBF` of C's stdio.h.
LINE_BUFFERED = 1


@dataclass(frozen=True, kw_only=True)
class OutputEnds:
    """The ends of pipes that a process writes to."""

    stdout: Connection
    stderr: Connection
    warning: Connection

    def close(self) -> None:
        """In a process that does not write to them."""
        for end in (self.stdout, self.stderr, self.warning):
            end.close()


@contextmanager
def redirected(ends: OutputEnds) -> Iterator[None]:
    """Send what this process writes on standard streams, and its warnings, to `ends`, for the rest of its life.

    What the service logs still goes to the standard error that the process was born with. So does the trace of an
    exception that leaves the block, which ends the process with exit code 1: it is of the service's inside.
    """
    set_up_logging(_text_file(os.dup(STDERR)))
    _redirect(ends)
    _show_warnings_on(_text_file(os.dup(ends.warning.fileno())))
    ends.close()
    threading.excepthook = _log_exception
    try:
        yield
    except Exception:
        log.exception("The process of the attempt failed.")
        raise SystemExit(1) from None


def _redirect(ends: OutputEnds) -> None:
    """The descriptors themselves, so that what extensions and child processes write is caught too."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # what the fork server left in the buffer is not of this attempt
    os.dup2(ends.stdout.fileno(), STDOUT)
    os.dup2(ends.stderr.fileno(), STDERR)
    sys.stdout, sys.stderr = _text_file(STDOUT), _text_file(STDERR)
    with suppress(ValueError, OSError):  # a C library that names it otherwise
        library = ctypes.CDLL(None)
        # A pipe is buffered whole by default, and a process that is killed flushes nothing.
        library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, LINE_BUFFERED, 0)


def _text_file(descriptor: int) -> TextIO:
    """Whole lines are written at once, so that they outlive the process."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _show_warnings_on(out: TextIO) -> None:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        # One line for each, and nothing of where things lie on this machine.
        text = " ".join(str(message).splitlines())
        out.write(f"{category.__name__}: {text} ({Path(filename).name}, line {lineno})\n")

    warnings.showwarning = show


def _log_exception(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
        name = failed.thread.name if failed.thread else "unknown"
        log.error("Thread %s failed.", name, exc_info=failed.exc_value)
