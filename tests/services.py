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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from redis import Redis
from redis.exceptions import RedisError

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


@dataclass(kw_only=True)
class Server:
    """A server process on a port of its own, which may be stopped and started again on the same data."""

    command: list[str]
    port: int
    url: str
    answers: Callable[[str], bool]
    options: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Return once it answers."""
        nowhere = subprocess.DEVNULL
        self.process = subprocess.Popen(self.command, stdout=nowhere, stderr=nowhere, **self.options)
        wait_for(lambda: self.process.poll() is not None or self.answers(self.url))
        assert self.process.poll() is None, f"{self.command[0]} ended at once"

    def stop(self, number: int = signal.SIGINT) -> None:
        """Send it a signal and wait for its end."""
        self.process.send_signal(number)
        self.process.wait(30)

    @contextlib.contextmanager
    def running(self) -> Iterator["Server"]:
        """Runs in the block, whatever is done to it there."""
        self.start()
        try:
            yield self
        finally:
            self.process.send_signal(signal.SIGCONT)
            self.stop()


def _answers_queries(url: str) -> bool:
    # A port that accepts is not enough: the server may still say that it is starting up.
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
        return True
    return False


def _answers_pings(url: str) -> bool:
    with contextlib.suppress(RedisError), Redis.from_url(url, socket_timeout=5) as client:
        return bool(client.ping())
    return False


@contextlib.contextmanager
def postgres_server() -> Iterator[Server]:
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
        command = [server, "-D", data, f"-p{port}", f"-k{folder}", "-cfsync=off", "-clisten_addresses=127.0.0.1"]
        url = f"postgresql://normlab@127.0.0.1:{port}/postgres"
        options = {"cwd": folder, **owner}
        made = Server(command=command, port=port, url=url, answers=_answers_queries, options=options)
        with made.running():
            yield made


@contextlib.contextmanager
def redis_server() -> Iterator[Server]:
    """An empty Redis, which forgets everything when it stops."""
    program = find_program("redis-server")
    assert program is not None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="normlab-redis-") as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        url = f"redis://127.0.0.1:{port}/0"
        with Server(command=command, port=port, url=url, answers=_answers_pings).running() as made:
            yield made


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty Postgres."""
    with postgres_server() as server:
        yield server.url


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """The address of an empty Redis."""
    with redis_server() as server:
        yield server.url


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
