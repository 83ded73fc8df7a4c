"""The lines of an attempt's log, made of the bytes that its process writes. Never imports torch."""

import time
from collections.abc import Iterable

from db.attempt_logs import LogLine
from db.status import LogStream

#: Of a line as it was written; the rest is cut off.
MAX_LINE_BYTES = 8 << 10
#: Kept of one attempt, of all streams together.
MAX_LINES = 10_000
MAX_BYTES = 1 << 20

CUT = " [the rest of the line is cut off]"
FULL = f"The log is full: of one attempt {MAX_BYTES >> 20} MiB or {MAX_LINES:,} lines are kept."


class LogLines:
    """Cuts what comes from the streams into numbered lines, and leaves out what is too much."""

    def __init__(self) -> None:
        self._unfinished = dict.fromkeys(LogStream, b"")
        self._count = 0
        self._bytes = 0
        self._is_full = False

    def add(self, stream: LogStream, data: bytes) -> list[LogLine]:
        """The lines that `data` ends."""
        if self._is_full:
            return []
        *whole, rest = (self._unfinished[stream] + data).split(b"\n")
        # One byte more than a line may have: enough to know that it is cut.
        self._unfinished[stream] = rest[: MAX_LINE_BYTES + 1]
        return self._keep(stream, map(_text, whole))

    def end(self, stream: LogStream) -> list[LogLine]:
        """The line that was begun, now that nothing follows."""
        return self.add(stream, b"\n") if self._unfinished[stream] else []

    def _keep(self, stream: LogStream, texts: Iterable[str]) -> list[LogLine]:
        kept: list[LogLine] = []
        for text in texts:
            self._bytes += len(text.encode())
            if self._bytes > MAX_BYTES or self._count == MAX_LINES:
                self._is_full = True
                return [*kept, self._line(LogStream.WARNING, FULL)]
            kept.append(self._line(stream, text))
        return kept

    def _line(self, stream: LogStream, text: str) -> LogLine:
        self._count += 1
        return LogLine(seq=self._count, stream=stream, text=text, heard=time.monotonic())


def _text(line: bytes) -> str:
    text = line[:MAX_LINE_BYTES].decode(errors="replace").replace("\0", "").rstrip("\r")
    return text + CUT if len(line) > MAX_LINE_BYTES else text
