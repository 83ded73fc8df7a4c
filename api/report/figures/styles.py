"""How the figures draw each arm: the same in all of them, told apart without colour too."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.report.evidence import Evidence
from api.report.figures.base import Json

#: Okabe & Ito 2008, told apart by the colour-blind; without black and yellow, which a background may swallow.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
BASELINE = "#808080"
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
#: Arms that a figure shows at first.
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Look:
    """Of one arm."""

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


def looks(arms: Sequence[Evidence], *, greater_is_better: bool) -> dict[int, Look]:
    """By number of the arm. The best ones are shown, and a baseline; no two of these look the same."""
    order = sorted(arms, key=lambda arm: arm.rank(greater_is_better=greater_is_better))
    baselines = [arm for arm in order if arm.arm.is_baseline]
    others = [arm for arm in order if not arm.arm.is_baseline]
    shown = {arm.arm.number for arm in [*order[:SHOWN], *baselines[:1]]}
    found: dict[int, Look] = {}
    for colours, ranked in (((BASELINE,), baselines), (COLOURS, others)):
        for rank, arm in enumerate(ranked):
            turn, colour = divmod(rank, len(colours))
            found[arm.arm.number] = Look(
                colour=colours[colour],
                dash=DASHES[turn % len(DASHES)],
                symbol=SYMBOLS[turn % len(SYMBOLS)],
                is_shown=arm.arm.number in shown,
            )
    return found
