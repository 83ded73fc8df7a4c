"""One installation in parts that a test may kill, freeze, stop and start again."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from db import checkpoints, jobs, migrate
from db.engine import Database
from db.store import Store
from tests import services
from tests.conftest import missing
from tests.e2e.client import Client
from tests.faults import whole
from tests.faults.processes import Part, WorkerProcess
from tests.services import Server, free_port, wait_for

STACKS = ("embedded", "postgres-redis")
LEASE_SECONDS = 3


class Stack:
    """SQLite and the file broker, or Postgres and Redis of its own; API and workers are processes of their own."""

    def __init__(
        self,
        kind: str,
        home: Path,
        *,
        postgres: Server | None = None,
        redis: Server | None = None,
        **settings: Any,
    ) -> None:
        """`settings` go to all processes: `max_attempts=100` is NORMLAB_MAX_ATTEMPTS."""
        home.mkdir(parents=True, exist_ok=True)
        self.kind, self.home, self.postgres, self.redis = kind, home, postgres, redis
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = Store((home / "store").as_uri())
        self.api: Part | None = None
        self.workers: list[WorkerProcess] = []
        self._started = 0
        self._cleanup = contextlib.ExitStack()
        chosen = {
            "home": home,
            "port": self.port,
            "lease_seconds": LEASE_SECONDS,
            "retry_backoff_seconds": 0.1,
            "concurrency": 2,
            **({"database_url": postgres.url} if postgres else {}),
            **({"broker_url": redis.url} if redis else {}),
            **settings,
        }
        ours = {f"NORMLAB_{name.upper()}": str(value) for name, value in chosen.items()}
        others = {name: value for name, value in os.environ.items() if not name.startswith("NORMLAB_")}
        self.environment = others | ours
        self._database = Database(postgres.url if postgres else f"sqlite:///{home / 'normlab.db'}")
        migrate.upgrade(self._database)

    def start_api(self) -> Part:
        """Return once it answers, whatever it says of the servers behind it."""
        log = self.home / "api.log"
        self.api = part = Part("api", self.environment, log)
        wait_for(lambda: not part.is_running() or services.accepts_connections(self.port))
        assert part.is_running(), log.read_text()
        return part

    def kill_api(self) -> None:
        assert self.api is not None
        self.api.kill()
        self.api = None

    def start_worker(self, *, wait: bool = True, **settings: Any) -> WorkerProcess:
        """One more; with `wait`, return once it takes jobs."""
        self._started += 1
        ready, log = self.home / f"worker-{self._started}.ready", self.home / f"worker-{self._started}.log"
        own = {f"NORMLAB_{name.upper()}": str(value) for name, value in settings.items()}
        worker = WorkerProcess({**self.environment, "NORMLAB_READY_FILE": str(ready), **own}, log, ready)
        self.workers.append(worker)
        if wait:
            worker.wait_until_ready()
        return worker

    def running_workers(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker.is_running()]

    def stop_redis(self, number: int = signal.SIGTERM) -> None:
        """SIGTERM or SIGKILL; either way it forgets everything."""
        self._own(self.redis).stop(number)

    def start_redis(self) -> None:
        self._own(self.redis).start()

    def freeze_redis(self) -> None:
        """It takes connections, and answers nothing."""
        self._own(self.redis).process.send_signal(signal.SIGSTOP)

    def wake_redis(self) -> None:
        self._own(self.redis).process.send_signal(signal.SIGCONT)

    def flush_redis(self) -> None:
        with Redis.from_url(self._own(self.redis).url, retry=Retry(NoBackoff(), 3)) as client:
            client.flushall()

    def restart_postgres(self, number: int = signal.SIGINT) -> None:
        """SIGINT: its sessions are ended and all is written; SIGQUIT: neither, it recovers when it starts."""
        self._own(self.postgres).stop(number)
        self._own(self.postgres).start()

    def client(self) -> Client:
        """Speaks to the API over HTTP."""
        return Client(self._cleanup.enter_context(httpx2.Client(base_url=self.url, timeout=30)))

    def database(self) -> Database:
        """For a look behind the API."""
        return self._database

    def holder_of(self, job: str) -> WorkerProcess:
        """The worker that has the job, or had it last."""
        with self._database.read() as session:
            name = jobs.get(session, job).worker
        assert name is not None, f"{job} has had no worker"
        _, pid, _ = name.rsplit(":", 2)
        return next(worker for worker in self.workers if worker.pid == int(pid))

    def weights_sha256(self, job: str) -> dict[str, str]:
        """Of the files with weights of the newest checkpoint, by name; their bytes are read and compared too."""
        with self._database.read() as session:
            newest = checkpoints.resumable(session, job)[0]
            files = checkpoints.trained_files(session, newest.id)
        for file in files:
            self.store.verify(file.stored)
        return {file.filename: file.stored.sha256 for file in files if file.format == "safetensors"}

    def series(self, job: str) -> dict[str, Any]:
        """Everything that the job recorded but `samples_per_second`, as the API gives it, page by page."""
        return whole.recorded(self.client(), job)

    def check_whole(self, job: str) -> None:
        """Fail unless the job succeeded once, with every step once, and with whole checkpoints."""
        whole.check(self.client(), self._database, self.store, job)

    def check_legal(self, job: str) -> None:
        """Fail if the job's timeline has a gap or a move that the law does not know, whatever its end."""
        whole.check_timeline(self.client(), job)

    def losses(self, job: str, end: str) -> tuple[int, int]:
        """Whether the job is lost, and whether doubled, 0 or 1 each."""
        return whole.losses(self._database, job, end)

    def logs(self) -> str:
        """What all parts have written."""
        return "\n".join(f"== {log.name}\n{log.read_text()}" for log in sorted(self.home.glob("*.log")))

    def close(self) -> None:
        """Kill what still runs."""
        for part in (*self.workers, *([self.api] if self.api else [])):
            part.kill()
        self._cleanup.close()
        self._database.dispose()

    def _own(self, server: Server | None) -> Server:
        assert server is not None, f"{self.kind} has no such server"
        return server


@contextlib.contextmanager
def installed(kind: str, home: Path, **settings: Any) -> Iterator[Stack]:
    """An installation of its own with nothing started but its servers; killed with the block."""
    with contextlib.ExitStack() as running:
        servers: dict[str, Server] = {}
        if kind == "postgres-redis":
            for program, name in (("initdb", "Postgres"), ("redis-server", "Redis")):
                if not services.find_program(program):
                    missing(f"faults on {kind}: install {name}")
            servers["postgres"] = running.enter_context(services.postgres_server())
            servers["redis"] = running.enter_context(services.redis_server())
        stack = Stack(kind, home, **servers, **settings)
        running.callback(stack.close)
        yield stack
