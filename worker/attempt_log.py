"""The log of an attempt: what its process writes, kept by the supervisor so that it outlives the process.

Two threads, because the process would wait on a full pipe while the database lets the writer wait. Both sleep
while nothing is written. Never imports torch.
"""

import logging
import os
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import cast

from sqlalchemy.exc import SQLAlchemyError

from db import attempt_logs
from db.attempt_logs import LogLine
from db.engine import Database
from db.lease import Hold
from db.status import LogStream
from worker.child_output import OutputEnds
from worker.log_lines import LogLines
from worker.patience import AWAY, patiently

log = logging.getLogger(__name__)

#: Seconds over which lines are gathered for one write.
FLUSH_SECONDS = 0.5
#: Seconds that `close` waits for what is left to be read, and then for it to be written.
CLOSE_SECONDS = 1.0
READ_BYTES = 1 << 16


class AttemptLog:
    """Reads the output of one attempt's process and writes it to the database.

    What waits for a database that does not answer needs no bound of its own: it is never more than is kept.
    """

    def __init__(self, database: Database, hold: Hold) -> None:
        self._database = database
        self._hold = hold
        pipes = {stream: Pipe(duplex=False) for stream in LogStream}
        self._ours = {ours: stream for stream, (ours, _) in pipes.items()}
        #: For the process, where `redirected` takes them.
        self.child_ends = OutputEnds(**{stream.value: theirs for stream, (_, theirs) in pipes.items()})
        self._stopped, self._stop = Pipe(duplex=False)
        self._lines: SimpleQueue[LogLine | None] = SimpleQueue()
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, name="log reader", daemon=True)
        self._writer = threading.Thread(target=self._write_on, name="log writer", daemon=True)

    def start(self) -> None:
        """Read from now on. The process must have been started: the ends that it got are closed here."""
        self.child_ends.close()
        self._reader.start()
        self._writer.start()

    def close(self) -> None:
        """Read what is left and have it written, once the process has ended.

        It takes two seconds at most; for a slow database, the writer goes on by itself.
        """
        self._reader.join(CLOSE_SECONDS)
        self._stop.close()  # somebody that the process has started still holds its output
        self._reader.join()
        self._writer.join(CLOSE_SECONDS)

    def _read(self) -> None:
        """Until the last process that holds an end is gone, or `close` does not wait any longer."""
        lines, still_open = LogLines(), dict(self._ours)
        while still_open:
            ready = cast(list[Connection], wait([*still_open, self._stopped]))
            if self._stopped in ready:
                break
            for ours in ready:
                if data := os.read(ours.fileno(), READ_BYTES):
                    self._put(lines.add(still_open[ours], data))
                else:
                    del still_open[ours]
        for ours, stream in self._ours.items():
            self._put(lines.end(stream))
            ours.close()
        self._ended.set()
        self._lines.put(None)
        self._stopped.close()

    def _put(self, lines: list[LogLine]) -> None:
        for line in lines:
            self._lines.put(line)

    def _write_on(self) -> None:
        """Until the reader says that there will be no more."""
        more = True
        while more:
            taken = [self._lines.get()]
            self._ended.wait(FLUSH_SECONDS)
            while not self._lines.empty():
                taken.append(self._lines.get())
            more = taken[-1] is not None
            if lines := [line for line in taken if line is not None]:
                self._write(lines)

    def _write(self, lines: list[LogLine]) -> None:
        """However long the database is away while the process runs; after that, as long as any write is tried."""
        while True:
            ended = self._ended.is_set()
            try:
                patiently(self._database, lambda session: attempt_logs.write(session, self._hold, lines))
                return
            except SQLAlchemyError as error:
                if ended or not isinstance(error, AWAY):
                    log.exception("Job %s: %d lines of its log are lost.", self._hold.job_id, len(lines))
                    return
