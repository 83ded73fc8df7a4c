"""What the faults came to, counted over a session of tests and written into a page of the documentation."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.faults.harness import Stack
from tests.faults.runs import Stopwatch

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
LIBRARIES = ("celery", "kombu", "sqlalchemy", "torch")
HEADER = """\
| scenario | stack | tried | survived | lost | doubled | s | at most lost (95 %) | note |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row: of so many tries, how many went as promised."""

    scenario: str
    stack: str
    tried: int
    survived: int
    lost: int
    doubled: int
    seconds: float
    note: str = ""

    def __add__(self, other: "Figure") -> "Figure":
        """Both as one row; the notes one after the other."""
        return Figure(
            scenario=self.scenario,
            stack=self.stack,
            tried=self.tried + other.tried,
            survived=self.survived + other.survived,
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            seconds=self.seconds + other.seconds,
            note="; ".join(dict.fromkeys(note for note in (self.note, other.note) if note)),
        )

    @property
    def bound(self) -> str:
        """The rule of three: none of n leaves room for a rate of 3/n (95 % confidence)."""
        if self.survived < self.tried or self.lost or self.doubled or not self.tried:
            return ""
        return f"{min(1.0, 3 / self.tried):.1%}"

    @property
    def row(self) -> str:
        """As a line of Markdown."""
        counts = (self.tried, self.survived, self.lost, self.doubled)
        cells = [self.scenario, self.stack, *map(str, counts), f"{self.seconds:.0f}", self.bound, self.note]
        return f"| {' | '.join(cells)} |"


@dataclass(kw_only=True)
class Tally:
    """What a test counts while it runs: a try is `tried` when it begins, and `survived` once all was compared."""

    tried: int = 0
    survived: int = 0
    #: The end that each job of the test must come to; `stack.losses` counts those that do not, or do so twice.
    ends: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    note: str = ""

    def judge(self, stack: Stack) -> None:
        """Look at all jobs, whether or not the test came to its end."""
        for job, end in self.ends.items():
            lost, doubled = stack.losses(job, end)
            self.lost += lost
            self.doubled += doubled


@dataclass(kw_only=True)
class Figures:
    """The rows of a session, one for each scenario on each stack."""

    seed: int
    rows: dict[tuple[str, str], Figure] = field(default_factory=dict)

    @contextlib.contextmanager
    def counting(self, scenario: str, stack: Stack) -> Iterator[Tally]:
        """Make a row, or add to it, of what happens in the block: a test that fails has its row too."""
        tally, watch = Tally(), Stopwatch()
        try:
            yield tally
        finally:
            seconds = watch.seconds
            tally.judge(stack)
            new = Figure(
                scenario=scenario,
                stack=stack.kind,
                tried=tally.tried,
                survived=tally.survived,
                lost=tally.lost,
                doubled=tally.doubled,
                seconds=seconds,
                note=tally.note,
            )
            known = self.rows.get((scenario, stack.kind))
            self.rows[scenario, stack.kind] = known + new if known else new

    def write(self, page: Path, failed: Sequence[str] = ()) -> None:
        """Put the table between the marks of a page; what stands around them stays."""
        text = page.read_text() if page.exists() else f"{BEGIN}\n{END}\n"
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text(f"{before}{BEGIN}\n{self._table(failed)}\n{END}{after}")

    def _table(self, failed: Sequence[str]) -> str:
        libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
        where = (
            f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, Python {platform.python_version()}, {libraries}, "
            f"{os.cpu_count()} cores, seed {self.seed}."
        )
        rows = [self.rows[key].row for key in sorted(self.rows)]
        ended = [f"Failed in this session: {', '.join(failed)}."] if failed else ["No test of the session failed."]
        return "\n".join([where, "", HEADER, *rows, "", *ended])


def commit() -> str:
    """Of the checkout, with a `+` where it has changes."""
    command = ["git", "describe", "--always", "--dirty=+"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
