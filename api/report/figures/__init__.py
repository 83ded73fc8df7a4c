"""The figures of a report, as plain JSON for Plotly."""

from collections.abc import Sequence

from api.report.evidence import Evidence
from api.report.figures.base import Figure
from api.report.figures.curves import curves
from api.report.figures.dots import finals, gaps
from api.report.figures.rates import by_learning_rate
from api.report.figures.styles import looks
from api.report.schemas import Report

__all__ = ["Figure", "figures"]


def figures(report: Report, arms: Sequence[Evidence]) -> tuple[list[Figure], list[str]]:
    """Those of which there is anything to show, and why the others are not there."""
    styles = looks(arms, greater_is_better=report.selection.greater_is_better)
    found = [
        curves(report, arms, styles),
        finals(report, arms, styles),
        by_learning_rate(report, arms),
        gaps(report, arms, styles),
    ]
    drawn = [figure for figure in found if isinstance(figure, Figure)]
    return drawn, [reason for reason in found if isinstance(reason, str)]
