"""What all figures share."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Json = dict[str, Any]

#: Of a figure, in pixels.
HEIGHT = 440
#: Characters of an arm's name.
NAME = 44
#: Arms that a sentence lists.
LISTED = 4


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot and the words around it."""

    id: str
    title: str
    caption: str
    #: Plotly's traces and layout.
    data: list[Json]
    layout: Json


def layout(x: str, y: str, **more: Any) -> Json:
    """Of a plot with such axes. The page adds colours: they depend on whether it is light or dark."""
    return {
        "height": HEIGHT,
        "margin": {"l": 64, "r": 12, "t": 12, "b": 56},
        "hovermode": "closest",
        "xaxis": {"title": {"text": escape(x)}, "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": escape(y)}, "automargin": True, "zeroline": False},
        # At the bottom, where it takes no width. Of many arms it scrolls; the page makes room on narrow screens.
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "maxheight": 130,
            "font": {"size": 11},
        },
    } | more


def not_drawn(names: Sequence[str], reason: str) -> str:
    """A sentence on the arms that a figure lacks; empty where it has all."""
    if not names:
        return ""
    listed = "; ".join(names[:LISTED]) + (f"; and {len(names) - LISTED} more" if len(names) > LISTED else "")
    return f" Not drawn, {reason}: {listed}."


def label(name: str, length: int) -> str:
    """A name of at most so many characters, in Plotly's markup: its middle is left out."""
    half = (length - 1) // 2
    return escape(name if len(name) <= length else f"{name[:half]}…{name[-half:]}")


def rounded(values: list[float]) -> list[float]:
    """As exact as a plot can show, in a third of the bytes."""
    return [float(f"{value:.6g}") for value in values]
