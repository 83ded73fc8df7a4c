"""kombu's broker in a folder, with files that appear whole.

kombu opens a file under its final name and then fills it, so that a reader who comes in between finds it empty and
falls over it. Here a file is filled under another name first.
"""

import logging
import os
import uuid
from pathlib import Path
from time import monotonic_ns
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps

log = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    """A channel whose messages and tables are written whole and read with forbearance."""

    # kombu's own classes do not agree on the name of the payload.
    def _put(self, queue: str, payload: dict[str, Any], **_: object) -> None:  # type: ignore[override]
        name = f"{monotonic_ns() // 1_000_000}_{uuid.uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out, name), dumps(payload))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        while True:
            try:
                message: dict[str, Any] = super()._get(queue)
            except ValueError:
                # Cut short by a power loss, perhaps. The job it spoke of is in the database, and is sent again.
                log.warning("Passed over a message that is not whole.", exc_info=True)
            else:
                return message

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        table = self.get_table(exchange)
        if binding not in table:
            _write_whole(self._exchange_file(exchange), dumps([binding, *table]))


class Transport(filesystem.Transport):
    """`filesystem://` as this installation means it."""

    Channel = Channel


def _write_whole(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{uuid.uuid4()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
