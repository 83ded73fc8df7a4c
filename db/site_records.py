"""The record of a site as a client gets it: the columns of its streams, nested by what they are of.

The column `train.mean` is `record["train"]["mean"]`: a row for each step, or over the channels `{"mean": [...],
"min": [...], "max": [...]}` from the columns `train.mean.mean` and so on.
"""

from collections.abc import Sequence
from typing import Any

from db.frames import Floats, Frame
from db.site_streams import DEAD, View
from models.shapes import Site

#: Groups of columns that are of one mode.
MODES = ("train", "eval")
#: Groups of what a norm has once, whatever the time step.
ONCE = ("affine", "activation")
#: What an evaluation found of the population itself; its record has no name for it, it is the record.
POPULATION = "population"


def add_columns(
    record: dict[str, Any],
    frame: Frame,
    view: View,
    site: Site | None,
    modes: Sequence[str],
    channels: Sequence[int],
) -> None:
    """Put the columns of one stream into the record of its site; of the two modes those of `modes`.

    `channels` are those that are wanted, all if there is none; numbers that a norm keeps of groups or samples
    come whole.
    """
    if view is View.PERCENTILES:
        record["percentiles"] = {name: frame.column(name).tolist() for name, _ in frame.columns}
        return
    for column, _ in frame.columns:
        group, quantity, *over = column.split(".")
        if group in MODES and group not in modes:
            continue
        values = frame.column(column)
        place = record if group == POPULATION else record.setdefault(group, {})
        if over:
            timed = group not in ONCE and site is not None and values.shape[1] == site.time_steps
            place.setdefault(quantity, {})[over[0]] = (values if timed else values[:, 0]).tolist()
        elif view is View.LAYER or column == DEAD:
            place[quantity] = values[:, 0].tolist()
        else:
            rows = values if group in ONCE else _by_time_step(values, site)
            place[quantity] = _chosen(rows, site, channels).tolist()


def _by_time_step(values: Floats, site: Site | None) -> Floats:
    """(rows, width) as (rows, time steps, values), of a recurrent site; its rows hold those of each time step."""
    if site is None or site.time_steps is None:
        return values
    return values.reshape(len(values), site.time_steps, -1)


def _chosen(values: Floats, site: Site | None, channels: Sequence[int]) -> Floats:
    by_channel = site is None or values.shape[-1] == site.channels
    return values[..., list(channels)] if channels and by_channel else values
