"""What a client declares: a base spec, what varies, and what the arms are compared by."""

from collections.abc import Iterable
from typing import Annotated, Any, Self, get_args

from pydantic import Field, ModelWrapValidatorHandler, StringConstraints, model_validator

from db.experiments.paths import ARM, Path, check_path
from db.experiments.search import Search
from db.jobs import MOST_PRIORITY
from db.presets.records import Scale
from db.presets.table import PRESETS
from db.spec.base import LARGEST, Flag, Part
from db.spec.errors import spec_error
from db.spec.job import LabelKey, LabelValue, Name
from db.spec.selection import GREATER_IS_BETTER

#: Seeds of one experiment.
MOST_SEEDS = 1000
#: Cells of one experiment, and values of one axis: of a longer one the count of cells says enough.
MOST_CELLS, MOST_VALUES = 10_000, 100_000
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
#: What is at some paths.
Pattern = Annotated[dict[Path, Any], Field(min_length=1, max_length=16)]

#: What a preset says of itself; its seeds and target may be replaced.
OF_PRESET = frozenset({"base", "arms", "axes", "exclude", "baseline", "search"})
#: Without these nothing can be run, so null is as good as left out.
NEEDED = frozenset({"scale", "seeds"})
SCALES: tuple[Scale, ...] = get_args(Scale)
DEFAULT_SCALE: Scale = "quick"
#: Measures that are shares.
SHARES = frozenset({"accuracy"})


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
        return self._measure in GREATER_IS_BETTER

    @property
    def _measure(self) -> str:
        return self.metric.rpartition("/")[2]

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        if self._measure in SHARES and not 0 <= self.value <= 1:
            message = "An accuracy is a share: 0.95 stands for 95 %."
            raise spec_error("not_a_share", "/target/value", message, allowed="number, from 0 to 1")
        return self


class Declaration(Part):
    """An experiment: every arm with every point of the axes with every seed, less what is excluded."""

    name: Name | None = None
    """By which it is found again: posting the same name adds what is missing. Without one, the same base, arms,
    axes, exclude and search are the same experiment, and seeds may be added."""
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
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS)] = (0,)
    """Each arm is run with each; a number n stands for 0 to n - 1."""
    exclude: Annotated[tuple[Pattern, ...], Field(max_length=200)] = ()
    """Combinations that are left out: those of which all that an entry names is so."""
    baseline: Pattern | None = None
    """The arms that the others are compared with: those of which all that this names is so."""
    target: TargetValue | None = None
    """What runs should reach; the report has the steps that it takes them, and speed-ups only with it."""
    max_parallel: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None
    """Jobs that are queued or running at a time; null for as many as the service finds useful."""
    priority: Annotated[int, Field(strict=True, ge=-MOST_PRIORITY, le=MOST_PRIORITY)] = 0
    """Of its jobs."""
    reuse: Flag = False
    """Take jobs that are there already with the same resolved spec, in place of new ones; the cells say so."""
    search: Search | None = None
    """Of values between limits, in each arm by itself; null for the declared ones alone."""

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, given: Any, make: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, dict):
            return make(given)
        made = make(_with_seeds(_with_preset(given)))
        # What a preset says, the client left out: it changes nothing in an experiment that is there.
        made.model_fields_set.intersection_update(given)
        return made

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
                raise spec_error("not_distinct", pointer, "Seeds, and names of arms, must differ from each other.")
        return self

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        space = self.search.space if self.search else {}
        places: list[tuple[str, Iterable[str]]] = [
            ("/base", self.base),
            ("/axes", self.axes),
            ("/search/space", space),
        ]
        places += [(f"/arms/{number}/set", arm.set) for number, arm in enumerate(self.arms)]
        places += [(f"/exclude/{number}", pattern.keys() - {ARM}) for number, pattern in enumerate(self.exclude)]
        places += [("/baseline", (self.baseline or {}).keys() - {ARM})]
        for pointer, paths in places:
            for path in paths:
                check_path(pointer, path)
        return self

    @model_validator(mode="after")
    def _check_set_once(self) -> Self:
        space = self.search.space if self.search else {}
        for number, arm in enumerate(self.arms):
            for path in arm.set.keys() & (self.axes.keys() | space.keys()):
                message = f"Arm {arm.name!r} sets what an axis or the search sets. Take it out of one of the two."
                raise spec_error("set_twice", f"/arms/{number}/set/{path}", message)
        for path in self.axes.keys() & space.keys():
            message = "The search sets what is an axis. Take it out of one of the two."
            raise spec_error("set_twice", f"/search/space/{path}", message)
        return self


def _with_preset(given: dict[str, Any]) -> dict[str, Any]:
    """With all that the preset says, if one is named."""
    name = given.get("preset")
    if not isinstance(name, str):
        return given
    if name not in PRESETS:
        message = "There is no such preset."
        raise spec_error("unknown_preset", "/preset", message, allowed=list(PRESETS), given=name)
    scale = given.get("scale")
    # One that is no scale is refused as such.
    values = PRESETS[name].scales.get(scale if scale in SCALES else DEFAULT_SCALE, {})
    for part in sorted(OF_PRESET & given.keys()):
        if given[part] not in (None, [], {}, values.get(part)):
            message = (
                f"Preset {name!r} says this. Leave it out; or post the preset's `experiment`, which "
                "GET /v1/catalog/presets has, with your changes and without preset and scale."
            )
            raise spec_error("set_by_preset", f"/{part}", message)
    own = {
        key: value
        for key, value in given.items()
        if key not in OF_PRESET and not (value is None and key in NEEDED)
    }
    return {"scale": DEFAULT_SCALE, **values, **own}


def _with_seeds(given: dict[str, Any]) -> dict[str, Any]:
    """With a list of seeds where a number of them was given."""
    seeds = given.get("seeds", [0])
    if isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= MOST_SEEDS:
        return {**given, "seeds": list(range(seeds))}
    if not isinstance(seeds, (list, tuple)):
        is_too_large = type(seeds) is int and seeds > MOST_SEEDS
        message = (
            f"An experiment has at most {MOST_SEEDS} seeds."
            if is_too_large
            else "Seeds are a list of whole numbers, or how many there are: 3 stands for [0, 1, 2]."
        )
        raise spec_error("no_seeds", "/seeds", message, allowed=f"a list, or a number from 1 to {MOST_SEEDS}")
    return given
