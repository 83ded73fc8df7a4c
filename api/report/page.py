"""The report as one page that needs nothing else: its script, its styles and Plotly are in it."""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from api.report.cells import duration
from api.report.columns import table
from api.report.differences import shared
from api.report.evidence import evidence
from api.report.figures import figures
from api.report.schemas import Report
from db.experiments.naming import text_of
from db.experiments.records import Subject
from db.status import FINAL


def to_html(report: Report, subject: Subject) -> str:
    """The page of a report of `subject`."""
    drawn = figures(report, evidence(subject))
    return (
        _templates()
        .get_template("page.html.jinja")
        .render(
            report=report,
            table=table(report),
            shared=shared([arm.resolved for arm in subject.arms]),
            ended=sum(count for status, count in report.progress.cells.items() if status in FINAL),
            figures=drawn,
            plots={figure.id: {"data": figure.data, "layout": figure.layout} for figure in drawn},
            plotly=Markup(get_plotlyjs()) if drawn else "",
        )
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("api.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"text": text_of, "duration": duration}
    templates.filters |= filters
    return templates
