"""From a declaration to its arms and cells: a stable list, without doubles."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from pydantic import ValidationError

from db import costs
from db.experiments.declaration import MOST_CELLS, Declaration
from db.experiments.naming import name_of
from db.experiments.paths import ARM, matches, with_values
from db.spec.job import JobSpec, canonical_digest
from db.spec.selection import evaluated_metrics

#: Settings that may be looked at: most of them would have to be excluded.
MOST_SETTINGS = 20_000
#: Wrong arms that are told of.
MOST_INVALID = 10


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One point of the declaration: where it is, and the values that it sets by path."""

    #: Position in `arms`, if there are any, and on each axis.
    arm: int | None
    positions: Mapping[str, int]
    coordinates: Mapping[str, Any]
    values: Mapping[str, Any]
    #: Values of a search that were put in to see whether a job takes them: the place of each below its path.
    searched: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DeclaredArm:
    """One setting whose spec is valid."""

    arm_id: str
    name: str
    coordinates: dict[str, Any]
    #: As it is given to jobs, and with every default filled in; both without seed.
    spec: dict[str, Any]
    resolved: dict[str, Any]
    #: That a cell may take on a small CPU.
    estimated_seconds: float

    def cell_id(self, seed: int) -> str:
        """The spec_hash of its job with a seed."""
        return cell_id_of(self.resolved, seed)


def cell_id_of(resolved: Mapping[str, Any], seed: int) -> str:
    """The spec_hash of a job with a seed, of a resolved spec without."""
    return canonical_digest({**resolved, "seed": seed})


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """The arms of a declaration, and how many cells were left out."""

    arms: tuple[DeclaredArm, ...]
    #: Seeds, and trials of a search.
    cells_of_arm: int
    #: Of the whole product, with its seeds; of those, excluded, and equal to another one.
    declared: int
    excluded: int
    equal: int

    def with_cells_of_arm(self, count: int) -> "Expansion":
        """The same arms, each with another number of cells."""

        def scaled(cells: int) -> int:
            return cells // self.cells_of_arm * count

        return replace(
            self,
            cells_of_arm=count,
            declared=scaled(self.declared),
            excluded=scaled(self.excluded),
            equal=scaled(self.equal),
        )


class Refused(Exception):
    """A declaration that is valid by itself and makes no sense as a whole."""

    def __init__(
        self, code: str, pointer: str, message: str, allowed: Any = None, given: str | None = None
    ) -> None:
        super().__init__(message)
        self.given = given
        self.code = code
        self.pointer = pointer
        self.message = message
        self.allowed = allowed


class InvalidArms(Exception):
    """Settings whose spec is not valid."""

    def __init__(self, wrong: list[tuple[Setting, ValidationError]]) -> None:
        super().__init__("Some arms have no valid spec.")
        self.wrong = wrong


def expand(declaration: Declaration, check: Callable[[JobSpec], None] = lambda _: None) -> Expansion:
    """The arms of a declaration in its order; `check` may refuse a spec by an error of its own.

    Raises:
        Refused: there are more than `MOST_CELLS`, or none; no arm is the baseline; a run does not give the target.
        InvalidArms: some are no valid spec.
    """
    seeds = cells_of_arm(len(declaration.seeds), declaration.search.trials if declaration.search else None)
    declared = seeds * max(1, len(declaration.arms)) * math.prod(map(len, declaration.axes.values()))
    if declared > MOST_SETTINGS * seeds:
        raise _too_many(declaration, declared)
    excluding = _Exclusion(declaration)
    kept = [each for each in settings(declaration) if not excluding.fits_setting(each)]
    if len(kept) * seeds > MOST_CELLS:
        raise _too_many(declaration, len(kept) * seeds)
    made = [arm for arm in _valid(declaration, kept, check) if not excluding.fits_arm(arm)]
    excluding.check()
    arms = tuple({arm.arm_id: arm for arm in reversed(made)}.values())[::-1]
    if not arms:
        raise Refused("no_cells", "/exclude", "All cells are excluded.")
    _check_baseline(declaration, arms)
    return Expansion(
        arms=arms,
        cells_of_arm=seeds,
        declared=declared,
        excluded=declared - len(made) * seeds,
        equal=(len(made) - len(arms)) * seeds,
    )


def cells_of_arm(seeds: int, trials: int | None) -> int:
    """Cells of one declared arm; each of the trials of a search is run with every seed."""
    return seeds * (trials or 1)


def _too_many(declaration: Declaration, count: int) -> Refused:
    """The refusal, at what makes the most of them."""
    factors = {f"/axes/{path}": len(values) for path, values in declaration.axes.items()}
    factors |= {"/arms": len(declaration.arms), "/seeds": len(declaration.seeds)}
    if declaration.search is not None:
        factors["/search/trials"] = declaration.search.trials
    product = " x ".join(f"{factor} of {place}" for place, factor in factors.items() if factor > 1)
    less = ", less what is excluded" if declaration.exclude else ""
    message = f"This declares {count} cells ({product}{less}), and one experiment has at most {MOST_CELLS}."
    largest = max(factors, key=lambda place: factors[place])
    return Refused("too_many_cells", largest, message, f"at most {MOST_CELLS} cells")


def _check_baseline(declaration: Declaration, arms: tuple[DeclaredArm, ...]) -> None:
    pattern = declaration.baseline
    if pattern is not None and not any(is_in(arm.resolved, arm.coordinates, pattern) for arm in arms):
        message = 'No arm is so. Name values that arms have, by dotted path, or an arm by {"arm": name}.'
        raise Refused("no_such_arm", "/baseline", message, [arm.name for arm in arms[:20]])


def is_in(resolved: Mapping[str, Any], coordinates: Mapping[str, Any], pattern: Mapping[str, Any]) -> bool:
    """Whether an arm is one of those that a pattern names."""
    named = {ARM: coordinates[ARM]} if ARM in coordinates else {}
    return matches({**resolved, **named}, pattern)


def settings(declaration: Declaration) -> Iterator[Setting]:
    """Every arm with every point of the axes, the last axis first."""
    for number, arm in enumerate(declaration.arms) if declaration.arms else [(None, None)]:
        for positions in product(*(range(len(values)) for values in declaration.axes.values())):
            places = dict(zip(declaration.axes, positions, strict=True))
            chosen = {path: declaration.axes[path][position] for path, position in places.items()}
            yield Setting(
                arm=number,
                positions=places,
                coordinates=({ARM: arm.name} if arm is not None else {}) | chosen,
                values=(arm.set if arm is not None else {}) | chosen,
            )


class _Exclusion:
    """What is left out, and which entries say so."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._idle = set(range(len(declaration.exclude)))

    def fits_setting(self, setting: Setting) -> bool:
        """By what is written: a combination that is excluded need not be valid."""
        return self._fits(with_values(self._declaration.base, setting.values), setting.coordinates)

    def fits_arm(self, arm: DeclaredArm) -> bool:
        """By what the spec leaves to its defaults too."""
        return self._fits(arm.resolved, arm.coordinates)

    def check(self) -> None:
        """Refuse an entry that fits nothing: what it should exclude would run."""
        for number in sorted(self._idle):
            message = "No cell is so, and nothing would be excluded. Leave it out, or name values that cells have."
            raise Refused("no_such_cell", f"/exclude/{number}", message)

    def _fits(self, spec: Mapping[str, Any], coordinates: Mapping[str, Any]) -> bool:
        patterns = enumerate(self._declaration.exclude)
        fitting = {number for number, pattern in patterns if is_in(spec, coordinates, pattern)}
        self._idle -= fitting
        return bool(fitting)


def _valid(
    declaration: Declaration, kept: list[Setting], check: Callable[[JobSpec], None]
) -> Iterator[DeclaredArm]:
    def check_all(spec: JobSpec) -> None:
        check(spec)
        _check_metrics(declaration, spec)

    wrong: list[tuple[Setting, ValidationError]] = []
    first = declaration.search.first_values() if declaration.search else {}
    filled = [replace(each, values={**each.values, **first}) for each in kept]
    # A value that the first arm does not take, most likely no arm does.
    for setting in [*_with_each_value(declaration, filled[:1]), *filled]:
        try:
            arm = make_arm(declaration.base, setting.values, setting.coordinates, check_all)
        except ValidationError as error:
            wrong.append((setting, error))
            if len(wrong) == MOST_INVALID:
                break
            continue
        if not setting.searched:
            yield arm
    if wrong:
        raise InvalidArms(wrong)


def _with_each_value(declaration: Declaration, kept: Iterable[Setting]) -> Iterator[Setting]:
    """The settings with each value of a search in turn."""
    for setting in kept:
        for path, place, value in declaration.search.each_value() if declaration.search else ():
            yield replace(setting, values={**setting.values, path: value}, searched={path: place})


def make_arm(
    base: Mapping[str, Any],
    values: Mapping[str, Any],
    coordinates: Mapping[str, Any],
    check: Callable[[JobSpec], None] = lambda _: None,
) -> DeclaredArm:
    """The arm that sets some values of a base spec.

    Raises:
        ValidationError: its spec is not valid.
    """
    spec = JobSpec.model_validate(with_values(base, values))
    check(spec)
    resolved = spec.resolved().to_json()
    for key in ("name", "labels", "seed"):
        del resolved[key]
    return DeclaredArm(
        arm_id=canonical_digest(resolved),
        name=name_of(coordinates),
        coordinates=dict(coordinates),
        spec=spec.model_dump(mode="json", exclude_unset=True),
        resolved=resolved,
        estimated_seconds=costs.seconds(spec),
    )


def _check_metrics(declaration: Declaration, spec: JobSpec) -> None:
    named = {
        "/target/metric": declaration.target.metric if declaration.target else None,
        "/search/metric": declaration.search.metric if declaration.search else None,
    }
    given = evaluated_metrics(spec)
    for pointer, metric in named.items():
        if metric is not None and metric not in given:
            message = "No evaluation of these jobs gives that metric. Choose one that every arm gives."
            raise Refused("metric_not_evaluated", pointer, message, list(given), given=metric)
