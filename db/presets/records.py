"""What a preset is: an experiment of the literature, what it found there, and how to run it here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: `smoke` takes seconds on data that comes with the service and shows nothing but that it runs; `quick` takes
#: minutes on a small CPU; `full` is as near to the paper as the service can be.
Scale = Literal["smoke", "quick", "full"]
#: At which `Preset.expected` was measured.
EXPECTED_SCALE: Scale = "quick"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named experiment."""

    name: str
    title: str
    #: Paper, section, figure or table, and arXiv id.
    source: str
    #: What the paper measured.
    reported: str
    #: What to expect of the scale `quick`, what will not show there, and what stays different at `full`.
    expected: str
    #: The body of `POST /v1/experiments` at each scale.
    scales: Mapping[Scale, Mapping[str, Any]]
