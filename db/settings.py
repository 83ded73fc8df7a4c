"""Where things are: `NORMLAB_*` environment variables, read once by each process."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.recovery import Retries


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


class Settings(BaseSettings):
    """What every process needs. Addresses that are not given lead to folders and files under `home`."""

    model_config = SettingsConfigDict(env_prefix="NORMLAB_", use_attribute_docstrings=True)

    home: Path = Path(".normlab")
    """State of an embedded installation: database, files, messages, decoded data."""
    database_url: str = ""
    """`sqlite:///...` or `postgresql://...`."""
    broker_url: str = ""
    """Celery's: `filesystem://` (no server) or `redis://...`."""
    store_url: str = ""
    """Where artifacts and checkpoints go: `file:///...`, `s3://...` and the others that obstore knows."""
    data_dir: Path | None = None
    """Data sets as folders laid out as the hub lays them out: `mnist/*.parquet`."""

    memory_limit_bytes: int = Field(default_factory=_half_of_memory, ge=1 << 20)
    """Most that each job may hold in memory, by estimate; half of this machine's by default. It is no limit of all
    jobs together: a worker runs NORMLAB_CONCURRENCY of them at a time, so divide what its machine has by that
    number where many jobs are large. Give it too where workers run on other machines, or in a container that may
    use less than its machine has."""

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        self.home = self.home.absolute()
        self.database_url = self.database_url or f"sqlite:///{self.home / 'normlab.db'}"
        self.broker_url = self.broker_url or "filesystem://"
        self.store_url = self.store_url or (self.home / "store").as_uri()
        return self

    @property
    def data_folder(self) -> Path:
        """`data_dir`, or its default."""
        return (self.data_dir or self.home / "data").absolute()

    @property
    def messages(self) -> Path:
        """Folder of the embedded broker."""
        return self.home / "messages"

    @property
    def cache(self) -> Path:
        """Folder of decoded data sets, shared by all jobs of the machine."""
        return self.home / "cache"


class WorkerSettings(Settings):
    """What a worker needs besides."""

    concurrency: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Jobs at a time; each has cores / concurrency threads."""
    lease_seconds: float = Field(default=30.0, gt=1)
    """A job whose worker has not been heard of for so long is given to another."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts in a row that may fail without a new checkpoint between them; then the job fails."""
    retry_backoff_seconds: float = Field(default=10.0, ge=0)
    """Wait before the attempt after a failed one; doubled each time, up to ten minutes."""
    storage_patience_seconds: float = Field(default=60.0, gt=0)
    """How long a run waits at its end or for a pause for a store that does not take its checkpoint; then the
    attempt fails."""
    cancel_grace_seconds: float = Field(default=30.0, gt=0)
    """How long a trainer that is to stop may take before it is killed; a pause may take ten times as long."""
    stall_seconds: float = Field(default=1800.0, gt=0)
    """An attempt whose trainer makes no step and no batch of an evaluation for so long is lost. Reading or
    downloading the data counts, and so does waiting for a store that is full."""
    ready_file: Path | None = None
    """Written once the worker takes jobs."""

    @property
    def retries(self) -> Retries:
        """How often, and after how long, a job is tried again."""
        return Retries(max_attempts=self.max_attempts, backoff_seconds=self.retry_backoff_seconds)

    @property
    def threads_per_job(self) -> int:
        """Cores over concurrency, at least one."""
        return max(1, (os.cpu_count() or 1) // self.concurrency)
