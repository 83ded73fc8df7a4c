"""The newest numbers of each site of a job: its last recorded rows, and what its last evaluation found."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from db import chunks
from db.chunks import ChunkInfo
from db.frames import Floats, concatenate
from db.site_streams import View, site_and_view


@dataclass(kw_only=True)
class SiteRecord:
    """Of one site. columns: name to (rows, width), by recorded step; evaluation: name to (width).

    Of a recurrent site a width is time steps times values, in this order.
    """

    steps: list[int] = field(default_factory=list)
    columns: dict[str, Floats] = field(default_factory=dict)
    evaluation_step: int | None = None
    evaluation: dict[str, Floats] = field(default_factory=dict)


def latest(session: Session, job_id: str, rows: int) -> dict[str, SiteRecord]:
    """The last `rows` recorded rows of every site (fewer if there are not as many) and its last evaluation.

    Newer attempts supersede what older ones recorded beyond their start.
    """
    tails = {
        stream: _tail(infos, 1 if site_and_view(stream)[1] is View.POPULATION else rows)
        for stream, infos in chunks.find(session, job_id, chunks.STATISTICS).items()
        if site_and_view(stream)[1] in (View.CHANNELS, View.LAYER, View.POPULATION)
    }
    frames = chunks.read_each(session, [info for infos in tails.values() for info in infos])
    records: dict[str, SiteRecord] = {}
    for stream, infos in tails.items():
        site, view = site_and_view(stream)
        record = records.setdefault(site, SiteRecord())
        frame = concatenate([frames[info.key] for info in infos])
        if view is View.POPULATION:
            record.evaluation_step = int(frame.steps[-1])
            record.evaluation = {name: frame.column(name)[-1] for name, _ in frame.columns}
        else:
            last = frame.take(slice(-rows, None))
            record.steps = last.steps.tolist()
            record.columns |= {name: last.column(name) for name, _ in last.columns}
    return records


def _tail(infos: Sequence[ChunkInfo], rows: int) -> list[ChunkInfo]:
    """The last chunks of one stream, no more than hold so many wanted rows."""
    found: list[ChunkInfo] = []
    for info in reversed(infos):
        found.insert(0, info)
        if sum(each.rows for each in found if each.whole) >= rows:
            break
    return found
