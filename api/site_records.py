"""What a client gets of the sites of a job: what is known of them, and what is recorded."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.problems import FieldError, ProblemError, suggest
from api.stored import spec_of
from db import jobs, statistics
from db.spec.job import JobSpec, units_to_record
from db.statistics import StatisticsQuery
from models.neighbours import neighbours
from models.shapes import Site, sites

#: Parts of a site's record that not every site has.
GROUPS = ("drift", "noise", "affine", "population")
MODES = ("train", "eval")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a request asks for: names of sites, all if there is none; one mode or both; channels in its words."""

    sites: list[str]
    mode: str | None
    channels: str
    from_step: int
    to_step: int
    after: str | None
    max_points: int | None


def site_records(session: Session, job_id: str, wanted: Wanted) -> dict[str, Any]:
    """The page of records that is wanted.

    Raises:
        NotFound: there is no such job.
        InvalidCursor: `wanted.after` is not a cursor of this service.
        ProblemError: 422, the network has no such sites or channels; 409, the spec is not taken any more.
    """
    spec = spec_of(jobs.get(session, job_id))
    known = _known_sites(spec, wanted.sites)
    query = StatisticsQuery(
        sites=list(known),
        modes=[wanted.mode] if wanted.mode else MODES,
        channels=_channels(wanted.channels, min((site.channels for site in known.values()), default=0)),
        known=known,
        from_step=wanted.from_step,
        to_step=wanted.to_step,
        after=wanted.after,
        max_points=wanted.max_points,
    )
    page = asdict(statistics.read(session, job_id, query))
    nothing: dict[str, Any] = {"step": [], **dict.fromkeys([*query.modes, *GROUPS]), "percentiles": {}}
    page["sites"] = {
        name: described | nothing | _with_names(page["sites"].get(name, {}), described)
        for name, described in _descriptions(spec, known).items()
    }
    return page


def _known_sites(spec: JobSpec, names: list[str]) -> dict[str, Site]:
    known = {site.name: site for site in sites(spec.blueprint())}
    for name in names:
        if name not in known:
            near = suggest(name, list(known))
            raise _bad_query("site", "unknown_site", "The network has no such site.", list(known), near)
    return {name: site for name, site in known.items() if not names or name in names}


def _descriptions(spec: JobSpec, known: Mapping[str, Site]) -> dict[str, dict[str, Any]]:
    """What is known of each site before any number: its norm, sizes, neighbours and recorded units."""
    units, beside = units_to_record(spec) if spec.statistics.details else {}, neighbours(spec.blueprint())
    found: dict[str, dict[str, Any]] = {}
    for name, site in known.items():
        record = {"norm": site.norm, "channels": site.channels, "moments": site.moments}
        record["units"] = list(units.get(name, ()))
        if site.time_steps is not None:
            record["time_step"] = list(range(site.time_steps))
        layer, activation = beside[name].layer, beside[name].activation
        found[name] = record | {
            "layer": layer and {"name": layer},
            "activation": activation and {"name": activation.name},
        }
    return found


def _with_names(record: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    """The record with the names of its site's neighbours beside their numbers."""
    named = {group: description[group] | record[group] for group in ("layer", "activation") if group in record}
    return record | named


def _channels(text: str, available: int) -> tuple[int, ...] | None:
    """None for the summary, an empty tuple for all channels, or the channels that are named."""
    if text in ("summary", "all"):
        return None if text == "summary" else ()
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if parts and all(re.fullmatch(r"[0-9]{1,9}", part) and int(part) < available for part in parts):
        return tuple(dict.fromkeys(int(part) for part in parts))  # each once
    allowed = f"summary, all, or channels from 0 to {available - 1}: 0,5,9"
    raise _bad_query("channels", "unknown_channel", "There are no such channels.", allowed)


def _bad_query(parameter: str, code: str, message: str, allowed: object, near: str | None = None) -> ProblemError:
    error = FieldError(pointer=f"?{parameter}", code=code, message=message, allowed=allowed, suggestion=near)
    return ProblemError(422, "invalid_query", "The query is not valid", message, errors=[error])
