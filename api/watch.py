"""Waiting for jobs: one task of the process asks the database on behalf of all who wait.

Nobody holds a connection or a thread while waiting, so a thousand who wait cost one small query.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import SQLAlchemyError

from db import news
from db.engine import Database
from db.news import GONE, News
from db.status import FINAL

log = logging.getLogger(__name__)

#: Seconds between two looks, and after one that failed.
INTERVAL = 0.25
INTERVAL_AFTER_FAILURE = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiter:
    job_id: str
    seen: int
    #: Nothing where the waiting is ended before there is news.
    news: asyncio.Future[News | None]


class Watch:
    """Tells those who wait that a job has changed. For the event loop's thread alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None
        # A thread of its own: requests that fill all the others are no reason to hear nothing.
        self._limiter = CapacityLimiter(1)
        self.closing = False

    async def news(self, job_id: str, seen: int, timeout: float) -> News | None:
        """The job's news once its timeline goes beyond `seen`; none after `timeout` seconds or at a shutdown."""
        if self.closing or timeout <= 0:
            return None
        waiter = _Waiter(job_id=job_id, seen=seen, news=asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._task is None:
            self._task = asyncio.create_task(self._look_on())
        try:
            return await asyncio.wait_for(waiter.news, timeout)
        except TimeoutError:
            return None
        finally:
            self._waiters.discard(waiter)

    async def status_change(self, job_id: str, timeout: float) -> None:
        """Return when the job's status is another than now: at once if it is final or there is no such job."""
        deadline = time.monotonic() + timeout
        seen = await to_thread.run_sync(self._look, [job_id])
        first = latest = seen.get(job_id, GONE)
        while latest.status is first.status and latest.status not in (*FINAL, None):
            fresh = await self.news(job_id, latest.seq, deadline - time.monotonic())
            if fresh is None:
                return
            latest = fresh

    async def close(self) -> None:
        """Let all who wait go; from now on nobody waits."""
        self.closing = True
        for waiter in self._waiters:
            if not waiter.news.done():
                waiter.news.set_result(None)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look_on(self) -> None:
        """Look while somebody waits."""
        try:
            while waiters := list(self._waiters):
                await asyncio.sleep(INTERVAL if await self._serve(waiters) else INTERVAL_AFTER_FAILURE)
        finally:
            self._task = None

    async def _serve(self, waiters: list[_Waiter]) -> bool:
        """Tell the waiters what is new; false if the database did not answer."""
        job_ids = {waiter.job_id for waiter in waiters}
        try:
            found = await to_thread.run_sync(self._look, job_ids, limiter=self._limiter, abandon_on_cancel=True)
        except SQLAlchemyError:
            log.warning("The database did not say what is new; asking again.", exc_info=True)
            return False
        for waiter in waiters:
            latest = found.get(waiter.job_id, GONE)
            if (latest is GONE or latest.seq > waiter.seen) and not waiter.news.done():
                waiter.news.set_result(latest)
        return True

    def _look(self, job_ids: set[str] | list[str]) -> dict[str, News]:
        with self._database.read() as session:
            return news.of(session, job_ids)
