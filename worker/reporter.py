"""From the loop to the database and the store, in the background and under the attempt's fence."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from sqlalchemy.orm import Session

from db import chunks, lease
from db.chunks import METRICS, ChunkWriter
from db.engine import Database
from db.frames import CHUNK_ROWS, Frame
from db.lease import Hold
from db.probes import ProbeWriter
from db.site_streams import SiteWriter
from db.spec.job import JobSpec
from db.store import Store
from db.tables import Checkpoint
from models.shapes import sites
from worker.narration import Narrator
from worker.patience import patiently
from worker.protocols import Series
from worker.saver import Saver
from worker.snapshot import Snapshot

T = TypeVar("T")

#: Seconds between writes.
WRITE_EVERY = 0.5
#: Seconds that the loop waits for room for a checkpoint that may be left out: where steps take microseconds, those
#: that the job asks for are not lost to a write of milliseconds.
ROOM_WITHIN = 1.0

#: Of metrics by the last part of their names: what the best value is.
LEAST, GREATEST = {"loss", "rmse"}, {"accuracy", "r2"}


class DatabaseReporter:
    """A `Reporter` whose calls only put things in a queue; one thread writes them, in order.

    States are large: besides the one that is being saved, one at most waits.
    When a write is refused because another attempt holds the job, or fails for good, `stopped` is set and the
    error is raised by `close`.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        hold: Hold,
        spec: JobSpec,
        resumed: Checkpoint | None = None,
        storage_patience_seconds: float = 60.0,
    ) -> None:
        """`resumed` is the checkpoint that the attempt goes on from."""
        self._database = database
        self._hold = hold
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._streams: dict[str, ChunkWriter] = {}
        self._sites: dict[str, SiteWriter] = {}
        self._site_count = len(sites(spec.blueprint()))
        self._found: list[tuple[str, int, Series]] = []
        self._probes: dict[str, ProbeWriter] = {}
        self._values: dict[str, Any] = {}
        self._latest: dict[str, dict[str, Any]] = dict(resumed.latest) if resumed else {}
        self._best: dict[str, dict[str, Any]] = dict(resumed.best) if resumed else {}
        self._narrator = Narrator()
        self._saver = Saver(database, store, hold, spec, storage_patience_seconds)
        #: Set while no state waits to be saved.
        self._has_room = threading.Event()
        self._has_room.set()
        self._has_news = False
        self._error: Exception | None = None
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)
        self._thread.start()

    def first_step(self) -> None:
        self._queue.put(lambda: self._commit(lambda session: lease.begin(session, self._hold)))

    def progress(self, step: int, epoch: int, samples_per_second: float) -> None:
        values = {"step": step, "epoch": epoch, "samples_per_second": samples_per_second}
        self._queue.put(lambda: self._values.update(values))

    def metrics(self, stream: str, steps: Sequence[int], series: Series) -> None:
        self._queue.put(lambda: self._add_metrics(stream, steps, series))
        self._put_found()

    def statistics(self, site: str, steps: Sequence[int], moments: Series, percentiles: Series) -> None:
        self._queue.put(lambda: self._add_statistics(site, steps, moments, percentiles))

    def population(self, site: str, step: int, values: Series) -> None:
        # Kept until the metrics of the evaluation: what it found at all sites goes into one transaction.
        self._found.append((site, step, values))

    def probe(self, name: str, step: int, values: Mapping[str, float]) -> None:
        self._queue.put(lambda: self._add_probe(name, step, values))

    def takes_checkpoint(self, *, needed: bool = False) -> bool:
        # A reporter that has stopped keeps nothing, so that there is always room in it.
        return self.stopped.is_set() or self._has_room.wait(None if needed else ROOM_WITHIN)

    def checkpoint(self, snapshot: Snapshot) -> None:
        self._has_room.clear()
        self._queue.put(lambda: self._save(snapshot))

    def environment(self, environment: dict[str, Any], dataset_hash: str) -> None:
        """What the job runs on, and the data that it really has."""
        values = {"environment": environment, "dataset_hash": dataset_hash}
        self._queue.put(lambda: self._values.update(values))

    def close(self) -> None:
        """Write what is left.

        Raises:
            AttemptSuperseded: another attempt holds the job.
            Exception: a write failed for good.
        """
        self._put_found()
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            going = True
            while going:
                going = self._take_for(WRITE_EVERY)
                self._write(last=not going)
        except Exception as error:  # raised again by close()
            self._error = error
            self.stopped.set()
        finally:
            self._has_room.set()  # for a loop that waits

    def _take_for(self, seconds: float) -> bool:
        """Handle what comes for a while; false when nothing more will come."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                action = self._queue.get(timeout=left)
            except queue.Empty:
                return True
            if action is None:
                return False
            action()
            self._has_news = True
        return True

    def _add_metrics(self, stream: str, steps: Sequence[int], series: Series) -> None:
        if stream not in self._streams:
            self._streams[stream] = ChunkWriter(self._hold, METRICS, stream, CHUNK_ROWS)
        columns = {name: np.asarray(values, dtype=np.float64) for name, values in series.items()}
        self._streams[stream].add(Frame.of(steps, columns))
        for name, values in columns.items():
            self._latest[name] = _point(values[-1], steps[-1])
            self._improve(name, steps, values)
        if stream == "evaluation":
            self._narrator.evaluated(steps[-1], {name: float(values[-1]) for name, values in columns.items()})

    def _improve(self, name: str, steps: Sequence[int], values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        kind = name.rpartition("/")[2]
        known_values = np.where(np.isfinite(values), values, np.nan)
        if kind not in LEAST | GREATEST or np.isnan(known_values).all():
            return
        row = int(np.nanargmin(known_values) if kind in LEAST else np.nanargmax(known_values))
        known = self._best.get(name)
        better = known is None or (values[row] < known["value"]) == (kind in LEAST)
        if better and (known is None or values[row] != known["value"]):
            self._best[name] = _point(values[row], steps[row])

    def _add_statistics(self, site: str, steps: Sequence[int], moments: Series, percentiles: Series) -> None:
        self._site(site).add(steps, moments, percentiles)

    def _put_found(self) -> None:
        found, self._found = self._found, []
        if found:
            self._queue.put(lambda: self._add_found(found))

    def _add_found(self, found: Sequence[tuple[str, int, Series]]) -> None:
        for site, step, values in found:
            self._site(site).add_population(step, values)

    def _site(self, site: str) -> SiteWriter:
        return self._sites.setdefault(site, SiteWriter(self._hold, site))

    def _add_probe(self, name: str, step: int, values: Mapping[str, float]) -> None:
        if name not in self._probes:
            self._probes[name] = ProbeWriter(self._hold, name, len(values))
        self._probes[name].add(step, values)

    def _write(self, *, last: bool = False) -> None:
        """One transaction with everything that has come since the last one.

        Sites wait for one another, but for the last time: a reader has one position for all of them.
        """
        if not self._has_news:
            return
        values = {**self._values, "latest": self._latest, "best": self._best}
        reached = [site.last_step for site in self._sites.values() if site.last_step]
        whole = last or (len(set(reached)) <= 1 and len(reached) in (0, self._site_count))
        streams = (stream for site in self._sites.values() if whole for stream in site.streams)
        probes = (probe.stream for probe in self._probes.values())
        writers = [*self._streams.values(), *streams, *probes]

        def write(session: Session) -> None:
            lease.record(session, self._hold, **values)
            chunks.write(session, writers)

        self._commit(write)
        for writer in writers:
            writer.committed()
        self._values, self._has_news = {}, not whole

    def _commit(self, write: Callable[[Session], T]) -> T:
        return patiently(self._database, write)

    def _save(self, snapshot: Snapshot) -> None:
        # Every number up to it must be safe first: who goes on from it does not record them again.
        self._write()
        self._has_room.set()
        if self._saver.save(snapshot, dict(self._latest), dict(self._best)):
            self._narrator.saved(snapshot.step)


def _point(value: float, step: int) -> dict[str, Any]:
    number = float(value)
    # JSON has no words for these; the API's are the same.
    text = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(number))
    return {"value": text or number, "step": int(step)}
