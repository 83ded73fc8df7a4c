"""How the figures draw each arm: the same in all of them, told apart without colour too."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.report.evidence import Evidence
from api.report.figures.base import Json

#: Okabe & Ito 2008, told apart by the colour-blind; without black and yellow, which a background may swallow.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
#: Of baselines. Few greys can be told apart, on white and on black: their dashes turn first.
GREYS = ("#6e6e6e", "#a0a0a0")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
#: As many as dashes, so that single points are told apart where lines are.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
#: Arms that a figure shows at first: no more than there are greys with dashes, all may be baselines.
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Look:
    """Of one arm, or of a family of arms."""

    colour: str
    dash: str
    symbol: str
    is_shown: bool

    @property
    def line(self) -> Json:
        """Of its curve."""
        return {"color": self.colour, "dash": self.dash, "width": 2}

    @property
    def band(self) -> str:
        """The fill of its band."""
        red, green, blue = bytes.fromhex(self.colour[1:])
        return f"rgba({red},{green},{blue},0.15)"


def look(rank: int, *, is_baseline: bool, is_shown: bool) -> Look:
    """Of the arm of this rank among the baselines, or among the others; the first twelve of each are not alike."""
    if is_baseline:
        turn, style = divmod(rank, len(DASHES))
        colour = GREYS[turn % len(GREYS)]
    else:
        style, turn = divmod(rank, len(COLOURS))
        colour = COLOURS[turn]
    return Look(
        colour=colour,
        dash=DASHES[style % len(DASHES)],
        symbol=SYMBOLS[style % len(SYMBOLS)],
        is_shown=is_shown,
    )


def looks(arms: Sequence[Evidence], *, greater_is_better: bool) -> dict[int, Look]:
    """By number of the arm. The best ones are shown, and a baseline; no two of these look the same."""
    order = sorted(arms, key=lambda arm: arm.rank(greater_is_better=greater_is_better))
    baselines = [arm for arm in order if arm.arm.is_baseline]
    others = [arm for arm in order if not arm.arm.is_baseline]
    shown = {arm.arm.number for arm in [*order[:SHOWN], *baselines[:1]]}
    return {
        arm.arm.number: look(rank, is_baseline=arm.arm.is_baseline, is_shown=arm.arm.number in shown)
        for ranked in (baselines, others)
        for rank, arm in enumerate(ranked)
    }
