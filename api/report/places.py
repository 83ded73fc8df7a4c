"""Which arms of an experiment can be compared with which."""

from collections.abc import Mapping, Sequence
from typing import Any

from api.report.differences import canonical
from api.report.evidence import Evidence
from db.experiments.naming import name_of

LEARNING_RATE = "optimizer.lr"


class Places:
    """Where arms stand to the baseline: their coordinates without what it fixes, and without the learning rate.

    The baseline fixes the dimensions on which all of its arms agree; on the others both sides must be equal.
    """

    def __init__(self, arms: Sequence[Evidence]) -> None:
        baselines = [arm for arm in arms if arm.arm.is_baseline]
        names = dict.fromkeys(name for arm in baselines for name in _dimensions(arm))
        #: Dimensions on which the baseline does not say what it is.
        self.free = [name for name in names if len({canonical(_choice(arm, name)) for arm in baselines}) > 1]
        self._beside: dict[str, list[Evidence]] = {}
        for arm in baselines:
            self._beside.setdefault(self._place(arm), []).append(arm)
        self.families = families(arms)
        self._family = {arm.arm.number: family for family in self.families for arm in family}

    def baselines(self, arm: Evidence) -> list[Evidence]:
        """The arms of the baseline that are equal in all that it leaves free; the learning rate may be another."""
        return self._beside.get(self._place(arm), [])

    def family(self, arm: Evidence) -> list[Evidence]:
        """The arms that differ from it in nothing but the learning rate, and itself."""
        return self._family[arm.arm.number]

    def _place(self, arm: Evidence) -> str:
        return canonical([_choice(arm, name) for name in self.free])


def families(arms: Sequence[Evidence]) -> list[list[Evidence]]:
    """The arms by all that was chosen but the learning rate, in their order."""
    found: dict[str, list[Evidence]] = {}
    for arm in arms:
        key = canonical({name: _choice(arm, name) for name in _dimensions(arm)})
        found.setdefault(key, []).append(arm)
    return list(found.values())


def without_learning_rate(arm: Evidence) -> str:
    """A name of its family."""
    return name_of({name: _choice(arm, name) for name in _dimensions(arm)})


def _dimensions(arm: Evidence) -> list[str]:
    return [name for name in arm.arm.coordinates if name != LEARNING_RATE]


def _choice(arm: Evidence, name: str) -> Any:
    """What was chosen on a dimension; of a whole optimizer without its learning rate."""
    chosen = arm.arm.coordinates.get(name)
    if name == "optimizer" and isinstance(chosen, Mapping):
        return {key: value for key, value in chosen.items() if key != "lr"}
    return chosen
