"""Real servers for the tests: Postgres, Redis, and the service itself on free ports and folders of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
START_TIMEOUT = 120.0


def find_program(name: str) -> str | None:
    """A program on the path or where Debian keeps Postgres's."""
    places = [os.environ["PATH"], "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    return shutil.which(name, path=os.pathsep.join(places))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition, timeout: float = START_TIMEOUT, every: float = 0.02):
    """The first true value of `condition`; fails with its last value when time is over."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still {value!r} after {timeout} s"
        time.sleep(every)
    return value


def accepts_connections(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def running(command: list[str], port: int, **options) -> Iterator[None]:
    """A server process that listens on `port`, ended with the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        wait_for(lambda: process.poll() is not None or accepts_connections(port))
        assert process.poll() is None, f"{command[0]} ended at once"
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """An empty Postgres; as root it runs as the user `postgres`, because it refuses root."""
    initdb, server = find_program("initdb"), find_program("postgres")
    assert initdb is not None
    assert server is not None
    owner = {"user": "postgres"} if os.geteuid() == 0 else {}
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="normlab-postgres-") as folder:
        if owner:
            shutil.chown(folder, "postgres")
        data = f"{folder}/data"
        create = [initdb, "--auth=trust", "--username=normlab", "--no-sync", "--encoding=UTF8", "-D", data]
        subprocess.run(create, check=True, capture_output=True, cwd=folder, **owner)
        options = [f"-p{port}", f"-k{folder}", "-cfsync=off", "-clisten_addresses=127.0.0.1"]
        with running([server, "-D", data, *options], port, cwd=folder, **owner):
            yield f"postgresql://normlab@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """An empty Redis."""
    server = find_program("redis-server")
    assert server is not None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="normlab-redis-") as folder:
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with running(command, port):
            yield f"redis://127.0.0.1:{port}/0"


@dataclass(kw_only=True)
class Service:
    """`normlab-server up`, running."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return (self.home / "output.log").read_text()

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NORMLAB_")}
        environment |= {"NORMLAB_HOME": str(self.home), "NORMLAB_PORT": str(self.port), **self.environment}
        program = Path(sys.executable).parent / "normlab-server"
        with (self.home / "output.log").open("w") as output:
            self.process = subprocess.Popen([program, "up"], env=environment, stdout=output, stderr=output)
        wait_for(lambda: self.process.poll() is not None or "is ready at" in self.output)
        assert self.process.poll() is None, self.output

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=30)
