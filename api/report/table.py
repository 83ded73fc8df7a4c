"""A report as a flat table: one row for each arm."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from api.report.differences import canonical
from api.report.schemas import ArmOut, FindingCount, Report


def to_csv(report: Report) -> str:
    """Columns are the fields of an arm by dotted path, `final.test/accuracy.median` say.

    What an arm does not have is empty; what no arm has is no column.
    """
    rows = [_row(arm.model_dump(exclude={"findings"}), arm.findings) for arm in report.arms]
    names = dict.fromkeys(name for row in rows for name in row)
    fields = list(ArmOut.model_fields)
    # What only a later arm has goes beside its like.
    columns = sorted(names, key=lambda name: fields.index(name.partition(".")[0]))
    written = io.StringIO()
    table = csv.DictWriter(written, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return written.getvalue()


def _row(arm: Mapping[str, Any], findings: Sequence[FindingCount]) -> dict[str, Any]:
    # A coordinate is one cell, whatever was chosen.
    texts = {"coordinates": canonical(arm["coordinates"]), "config": _plain(arm["config"])}
    found = "; ".join(f"{each.code} ({each.severity}) in {each.runs}" for each in findings)
    return _flat("", {**arm, **texts}) | {"findings": found}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {path: canonical(value) if isinstance(value, list | dict) else value for path, value in config.items()}


def _flat(path: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {} if value is None else {path: value}
    found: dict[str, Any] = {}
    for key, entry in value.items():
        found |= _flat(f"{path}.{key}" if path else key, entry)
    return found
