"""The report of an experiment: what its arms came to over their seeds, as JSON, CSV and a page."""

from api.report.build import report
from api.report.page import to_html
from api.report.table import to_csv

__all__ = ["report", "to_csv", "to_html"]
