"""What a client declares: a base spec, what varies, and what the arms are compared by."""

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from db.experiments.search import Search
from db.jobs import MOST_PRIORITY
from db.presets.records import Scale
from db.presets.table import PRESETS
from db.spec.base import LARGEST, Flag, Part
from db.spec.errors import spec_error
from db.spec.job import JobSpec, LabelKey, LabelValue, Name
from db.spec.selection import GREATER_IS_BETTER

#: Cells of one experiment, and values of one axis: of a longer one the count of cells says enough.
MOST_CELLS, MOST_VALUES = 10_000, 100_000
#: The dimension of named arms; no field of a spec has this name.
ARM = "arm"

PATH_PATTERN = r"^[a-z_]+(\.[A-Za-z0-9_]+){0,8}$"
Path = Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=200)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
#: What is at some paths.
Pattern = Annotated[dict[Path, Any], Field(min_length=1, max_length=16)]

#: Fields of a spec that an experiment sets by itself.
NOT_VARIED = {"seed": "seeds", "name": "name", "labels": "labels"}


#: What a preset says of itself; its seeds and target may be replaced.
OF_PRESET = frozenset({"base", "arms", "axes", "exclude", "baseline", "search"})
DEFAULT_SCALE: Scale = "quick"


class NamedArm(Part):
    """One setting that sets several fields at once."""

    name: Name
    """In the report."""
    set: Annotated[dict[Path, Any], Field(max_length=64)] = Field(default_factory=dict)
    """Values by dotted path of the spec; {} for the base as it is."""


class TargetValue(Part):
    """A value that runs should reach; the report has the steps that it takes them."""

    metric: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """One that an evaluation gives, `test/accuracy` say."""
    value: Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
    """Reached from here on: upwards for accuracy and r2, downwards for losses and errors."""

    @property
    def greater_is_better(self) -> bool:
        """Whether the metric is to rise to the value."""
        return self.metric.rpartition("/")[2] in GREATER_IS_BETTER


class Declaration(Part):
    """An experiment: every arm with every point of the axes with every seed, less what is excluded."""

    name: Name | None = None
    """By which it is found again: posting the same name adds what is missing. Null for a name made of what is
    declared, so that the same declaration is the same experiment."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """Of every job."""
    preset: Annotated[str, StringConstraints(max_length=100)] | None = None
    """An experiment of the literature; it says base, arms, axes, exclude and baseline."""
    scale: Scale | None = None
    """Of the preset; quick if it is not given."""
    base: Annotated[dict[str, Any], Field(max_length=64)] = Field(default_factory=dict)
    """A job spec without what arms and axes set."""
    arms: Annotated[tuple[NamedArm, ...], Field(max_length=1000)] = ()
    """Settings that change several fields at once."""
    axes: Annotated[
        dict[Path, Annotated[list[Any], Field(min_length=1, max_length=MOST_VALUES)]], Field(max_length=16)
    ] = Field(default_factory=dict)
    """Values by dotted path of the spec (`optimizer.lr`, `norm`), each tried with each of the others; whole parts
    are values too."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1000)] = (0,)
    """Each arm is run with each; a number n stands for 0 to n - 1."""
    exclude: Annotated[tuple[Pattern, ...], Field(max_length=1000)] = ()
    """Combinations that are left out: those of which all that an entry names is so."""
    baseline: Pattern | None = None
    """The arms that the others are compared with: those of which all that this names is so."""
    target: TargetValue | None = None
    max_parallel: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None
    """Jobs that are queued or running at a time; null for as many as the service finds useful."""
    priority: Annotated[int, Field(strict=True, ge=-MOST_PRIORITY, le=MOST_PRIORITY)] = 0
    """Of its jobs."""
    reuse: Flag = False
    """Take jobs that are there already with the same resolved spec, in place of new ones; the cells say so."""
    search: Search | None = None
    """Of values between limits, in each arm by itself; null for the declared ones alone."""

    @model_validator(mode="before")
    @classmethod
    def _count_seeds(cls, given: Any) -> Any:
        seeds = given.get("seeds") if isinstance(given, dict) else None
        if isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= 1000:
            return {**given, "seeds": list(range(seeds))}
        return given

    # Of two the one that stands last comes first.
    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else None
        if not isinstance(name, str):
            return given
        if name not in PRESETS:
            message = "There is no such preset."
            raise spec_error("unknown_preset", "/preset", message, allowed=list(PRESETS), given=name)
        values = PRESETS[name].scales.get(given.get("scale") or DEFAULT_SCALE, {})
        for part in sorted(OF_PRESET & given.keys()):
            if given[part] not in (None, [], {}, values.get(part)):
                message = f"Preset {name!r} says this. Leave it out, or post the preset's declaration as your own."
                raise spec_error("set_by_preset", f"/{part}", message)
        own = {key: value for key, value in given.items() if key not in OF_PRESET and value is not None}
        return {"scale": DEFAULT_SCALE, **values, **own}

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        if self.scale is not None and self.preset is None:
            raise spec_error("no_preset", "/scale", "A scale is that of a preset. Name one, or leave it out.")
        return self

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        names = [arm.name for arm in self.arms]
        for pointer, values in (("/arms", names), ("/seeds", list(self.seeds))):
            if len(set(values)) < len(values):
                raise spec_error("not_distinct", pointer, "The values must differ from each other.")
        return self

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        places = [("/base", path) for path in self.base]
        places += [("/axes", path) for path in self.axes]
        places += [(f"/arms/{number}/set", path) for number, arm in enumerate(self.arms) for path in arm.set]
        places += [("/search/space", path) for path in (self.search.space if self.search else {})]
        for pointer, path in places:
            _check_path(pointer, path)
        for path in self.axes:
            for number, arm in enumerate(self.arms):
                if path in arm.set:
                    message = (
                        f"Arm {arm.name!r} sets what is an axis. Take it out of the arms, or out of the axes."
                    )
                    raise spec_error("set_twice", f"/arms/{number}/set/{path}", message)
        return self


def _check_path(pointer: str, path: str) -> None:
    first = path.partition(".")[0]
    if first in NOT_VARIED:
        instead = NOT_VARIED[first]
        message = f"Give {instead} beside base, not here: an experiment sets the {first} of its jobs itself."
        raise spec_error("not_varied", f"{pointer}/{path}", message, allowed=[f"/{instead}"])
    fields = sorted(set(JobSpec.model_fields) - NOT_VARIED.keys())
    if first not in fields:
        message = "A job spec has no such field."
        raise spec_error("unknown_path", f"{pointer}/{path}", message, allowed=fields, given=first)
