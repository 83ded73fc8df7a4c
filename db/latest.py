"""The newest numbers of each site of a job: its last recorded rows, and what its last evaluation found."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from db import chunks
from db.chunks import ChunkInfo
from db.frames import Floats, Frame, concatenate
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
    records: dict[str, SiteRecord] = {}
    for stream, infos in chunks.find(session, job_id, chunks.STATISTICS).items():
        site, view = site_and_view(stream)
        record = records.setdefault(site, SiteRecord())
        match view:
            case View.CHANNELS | View.LAYER:
                frame = _tail(session, infos, rows)
                record.steps = frame.steps.tolist()
                record.columns |= {name: frame.column(name) for name, _ in frame.columns}
            case View.POPULATION:
                frame = _tail(session, infos, 1)
                record.evaluation_step = int(frame.steps[-1])
                record.evaluation = {name: frame.column(name)[-1] for name, _ in frame.columns}
            case _:
                pass
    return records


def _tail(session: Session, infos: Sequence[ChunkInfo], rows: int) -> Frame:
    """The last rows of one stream; reads no more chunks than hold them."""
    frames: list[Frame] = []
    for info in reversed(infos):
        frames.insert(0, chunks.read(session, [info], info.rows))
        if sum(len(frame.steps) for frame in frames) >= rows:
            break
    return concatenate(frames).take(slice(-rows, None))
