"""The report as CSV."""

import csv
import io

from api.report import report, to_csv
from db.experiments.status import CellStatus
from tests.api.report.support import BATCH, METRIC, NONE, make_arm, make_run, make_subject


def table(subject):
    return list(csv.DictReader(io.StringIO(to_csv(report(subject)))))


def test_one_row_for_each_arm_with_flat_columns():
    arms = [make_arm(0, {"norm": NONE}, is_baseline=True), make_arm(1, {"norm": BATCH}, name='a "quoted", name')]
    runs = [make_run(n, seed, steps, 0.95) for n, steps in enumerate((800, 200)) for seed in range(3)]
    runs[0] = make_run(0, 0, 800, findings=[("drift", "warn")])
    first, second = table(make_subject(arms, runs))
    assert (first["name"], second["name"]) == ("norm " + first["name"].removeprefix("norm "), 'a "quoted", name')
    assert (first["is_baseline"], second["config.norm"]) == ("True", "batch")
    assert (second[f"final.{METRIC}.median"], second["steps_to_target.median"]) == ("0.95", "200.0")
    assert (second["speed_up.equal_lr.ratio"], second["speed_up.best_lr.ratio"]) == ("4.0", "4.0")
    assert (first["findings"], second["findings"]) == ("drift (warn) in 1", "")
    assert first["speed_up.equal_lr.ratio"] == ""


def test_columns_of_one_field_stay_together():
    arms = [make_arm(0, {"norm": NONE}), make_arm(1, {"norm": BATCH})]
    waiting = make_run(0, 0, step=0, status=CellStatus.QUEUED)
    columns = list(table(make_subject(arms, [waiting, make_run(1, 0, 300)]))[0])
    fields = [name.partition(".")[0] for name in columns]
    assert len(set(fields)) == sum(a != b for a, b in zip(fields, [None, *fields], strict=False))
    assert "steps_to_target" not in columns


def test_no_arms_no_rows():
    assert table(make_subject([], [])) == []
