"""What the API process needs."""

import ipaddress
from typing import Self

from pydantic import Field, model_validator

from db.settings import Settings


class ApiSettings(Settings):
    """Where the API listens and how much it takes."""

    host: str = "127.0.0.1"
    """Address to listen on. The service has no keys yet, so only loopback addresses are taken."""
    port: int = Field(default=8000, ge=1, le=65535)
    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request body."""
    max_inputs_bytes: int = Field(default=16 << 20, ge=1024)
    """Largest body of a recalibration, which may bring its inputs along."""
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
