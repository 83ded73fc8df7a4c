"""What a lint finds."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a warning or a finding matters, the worst last."""

    #: Good to know.
    INFO = "info"
    #: Look at it.
    WARN = "warn"
    #: The job's result is not to be trusted before it is mended.
    BAD = "bad"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Severity).index(self)


@dataclass(frozen=True, kw_only=True)
class SpecWarning:
    """Something to look at. `pointer` is the JSON pointer of the field, `message` says what happens."""

    code: str
    pointer: str
    message: str
    severity: Severity = Severity.WARN
