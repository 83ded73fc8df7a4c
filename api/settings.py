"""What the API process needs."""

import ipaddress
import os
from typing import Self

from pydantic import Field, model_validator

from db.settings import Settings


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


class ApiSettings(Settings):
    """Where the API listens and how much it takes."""

    host: str = "127.0.0.1"
    """Address to listen on. The service has no keys yet, so only loopback addresses are taken."""
    port: int = Field(default=8000, ge=1, le=65535)
    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request body."""
    max_inputs_bytes: int = Field(default=16 << 20, ge=1024)
    """Largest body of a recalibration, which may bring its inputs along."""
    memory_limit_bytes: int = Field(default_factory=_half_of_memory, ge=1 << 20)
    """Most that each job may hold in memory, by estimate; half of this machine's by default. It is no limit of all
    jobs together: a worker runs NORMLAB_CONCURRENCY of them at a time, so divide what its machine has by that
    number where many jobs are large. Give it too where workers run on other machines, or in a container that may
    use less than its machine has."""
    allow_unprotected: bool = False
    """Listen on an address that others can reach, without keys; for a container behind a proxy that has them."""

    @model_validator(mode="after")
    def _check_host(self) -> Self:
        if not self.allow_unprotected and not _is_loopback(self.host):
            raise ValueError(
                f"NORMLAB_HOST={self.host} can be reached by others, and the service has no keys yet. "
                "Use 127.0.0.1, or set NORMLAB_ALLOW_UNPROTECTED=true behind a proxy that checks who asks."
            )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
