"""The report as one page that needs nothing else: its script, its styles and Plotly are in it."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from api.report.cells import duration, measured
from api.report.columns import table
from api.report.differences import shared
from api.report.evidence import evidence
from api.report.figures import figures
from api.report.overview import ran, scale_warning, shown_name, told
from api.report.schemas import Report
from db.experiments.naming import text_of
from db.experiments.records import Subject


def to_html(report: Report, subject: Subject) -> str:
    """The page of a report of `subject`."""
    arms = evidence(subject)
    drawn, not_drawn = figures(report, arms)
    return (
        _templates()
        .get_template("page.html.jinja")
        .render(
            report=report,
            ran=ran(subject.arms, report.provenance.seeds),
            warning=scale_warning(report, subject.arms),
            summary=told(report.summary or {}),
            names={arm.number: shown_name(arm) for arm in subject.arms},
            table=table(report, subject.arms),
            shared=shared([arm.resolved for arm in subject.arms]),
            arms=arms,
            made_at=datetime.now(UTC),
            figures=drawn,
            not_drawn=not_drawn,
            plots={figure.id: {"data": figure.data, "layout": figure.layout} for figure in drawn},
            plotly=Markup(get_plotlyjs()) if drawn else "",
        )
    )


def _code(text: str) -> Markup:
    """Text in which `this` is code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _breakable(text: str) -> Markup:
    """Text that may go on in a new line after each _ and /: codes and metrics are too long for a column."""
    return Markup(re.sub("([_/])", r"\1<wbr>", str(escape(text))))


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("api.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "text": text_of,
        "duration": duration,
        "measured": measured,
        "code": _code,
        "breakable": _breakable,
    }
    templates.filters |= filters
    return templates
