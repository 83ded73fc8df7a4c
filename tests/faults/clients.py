"""A client that does what the documentation tells it to: asks again, with the same key, until it is answered."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2

#: Seconds between tries.
TRY_EVERY = 0.3

Spec = dict[str, Any]


class PatientClient(threading.Thread):
    """Submits jobs one after the other, each until it has its id; notes every answer that is none of these."""

    def __init__(
        self, url: str, spec_of: Callable[[int], dict[str, Any]], jobs: int, every_seconds: float
    ) -> None:
        super().__init__(name="client", daemon=True)
        self._url, self._spec_of, self._jobs, self._every = url, spec_of, jobs, every_seconds
        #: Ids by number of the job; tries that came to nothing; answers that no client should see.
        self.ids: dict[int, str] = {}
        self.tries = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        for number in range(self._jobs):
            self.ids[number] = self.submit(number)
            time.sleep(self._every)

    def submit(self, number: int) -> str:
        """The id of a job that exists."""
        while True:
            self.tries += 1
            answer = post(self._url, self._spec_of(number), key=f"job-{number}")
            if answer is not None and answer.status_code == 201:
                return str(answer.json()["id"])
            # 409: the first request with the key is still running.
            if answer is not None and answer.status_code not in (409, 503):
                self.wrong.append(answer.text)
            time.sleep(TRY_EVERY)


def post(url: str, spec: Spec, key: str, timeout: float = 30) -> httpx2.Response | None:
    """Submit a job; none if there was no answer."""
    try:
        return httpx2.post(f"{url}/v1/jobs", json=spec, headers={"Idempotency-Key": key}, timeout=timeout)
    except httpx2.TransportError:
        return None
