"""Processes of the service as an operating system sees them: killed, frozen, woken."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.services import wait_for

PROGRAM = Path(sys.executable).parent / "normlab-server"
#: Of the fields of /proc/PID/stat after the name: state, parent, group, session.
STATE, PARENT, SESSION = 0, 1, 3


def stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name; none if there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None


def processes() -> Iterator[tuple[int, list[str]]]:
    """All that run on this machine, without those that have ended and wait to be noticed."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat(int(entry))) and fields[STATE] not in "ZX":
            yield int(entry), fields


def send(pids: list[int], number: int) -> int:
    """Send each a signal; returns how many were there to take it."""
    taken = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            taken += 1
    return taken


class Part:
    """A process of the service in a session of its own, with all that it starts."""

    def __init__(self, command: str, environment: dict[str, str], log: Path) -> None:
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [PROGRAM, command], env=environment, stdout=output, stderr=output, start_new_session=True
            )
        self.log = log

    @property
    def pid(self) -> int:
        """Of the first process, and of its group and session."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the first process has not ended."""
        return self._process.poll() is None

    def members(self) -> list[int]:
        """All processes of the session."""
        return [pid for pid, fields in processes() if fields[SESSION] == str(self.pid)]

    def kill(self) -> None:
        """SIGKILL to all of them, as when the machine goes; return when they are gone."""
        # Again: one may have started another in between.
        while pids := self.members():
            send(pids, signal.SIGKILL)
            wait_for(lambda pids=pids: not set(pids) & set(self.members()), timeout=30, every=0.005)
        self._process.wait(30)

    def stop(self) -> int:
        """SIGTERM to the first, as from an operator; returns its exit code."""
        self._process.terminate()
        return self._process.wait(90)

    def freeze(self) -> None:
        """SIGSTOP to all of them: they do nothing until they are woken, and do not know."""
        pids: set[int] = set()
        while new := set(self.members()) - pids:
            send(list(new), signal.SIGSTOP)
            pids |= new

    def wake(self) -> None:
        """SIGCONT to all of them."""
        send(self.members(), signal.SIGCONT)


class WorkerProcess(Part):
    """`normlab-server worker`, which writes `ready` once it takes jobs."""

    def __init__(self, environment: dict[str, str], log: Path, ready: Path) -> None:
        super().__init__("worker", environment, log)
        self._ready = ready

    def wait_until_ready(self) -> None:
        """Return once it takes jobs."""
        wait_for(lambda: self._ready.exists() or not self.is_running())
        assert self.is_running(), self.log.read_text()

    def trainers(self) -> list[int]:
        """The trainers: children of the fork server."""
        found = {pid: fields for pid, fields in processes() if fields[SESSION] == str(self.pid)}
        servers = {
            str(pid)
            for pid, fields in found.items()
            if fields[PARENT] == str(self.pid) and b"forkserver" in command_line(pid)
        }
        return [pid for pid, fields in found.items() if fields[PARENT] in servers]


def command_line(pid: int) -> bytes:
    """What a process was started with; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
