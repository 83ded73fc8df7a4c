"""The report as one page that needs nothing else: its script, its styles and Plotly are in it."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from api.report.cells import duration
from api.report.columns import table
from api.report.differences import shared
from api.report.evidence import evidence
from api.report.figures import figures
from api.report.schemas import Report
from db.experiments.naming import text_of
from db.experiments.records import Subject


def to_html(report: Report, subject: Subject) -> str:
    """The page of a report of `subject`."""
    arms = evidence(subject)
    drawn = figures(report, arms)
    return (
        _templates()
        .get_template("page.html.jinja")
        .render(
            report=report,
            table=table(report),
            shared=shared([arm.resolved for arm in subject.arms]),
            arms=arms,
            made_at=datetime.now(UTC),
            figures=drawn,
            plots={figure.id: {"data": figure.data, "layout": figure.layout} for figure in drawn},
            plotly=Markup(get_plotlyjs()) if drawn else "",
        )
    )


def _code(text: str) -> Markup:
    """Text in which `this` is code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("api.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"text": text_of, "duration": duration, "code": _code}
    templates.filters |= filters
    return templates
