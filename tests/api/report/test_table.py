"""The report as CSV."""

import csv
import io
import json

from api.report import report, to_csv
from api.report.table import Gap
from db.experiments.records import Searching
from db.experiments.status import CellStatus
from db.spec.selection import MEASURES, Selection
from tests.api.report.support import BATCH, METRIC, NONE, make_arm, make_run, make_subject


def table(subject):
    return list(csv.DictReader(io.StringIO(to_csv(report(subject)))))


def header(subject):
    return to_csv(report(subject)).partition("\n")[0].split(",")


def compared():
    arms = [make_arm(0, {"norm": NONE}, is_baseline=True), make_arm(1, {"norm": BATCH}, name='a "quoted", name')]
    runs = [make_run(n, seed, steps, 0.95) for n, steps in enumerate((800, 200)) for seed in range(3)]
    runs[0] = make_run(0, 0, 800, findings=[("drift", "warn"), ("noise", "info")], seconds=8.0)
    return make_subject(arms, runs)


def test_one_row_for_each_arm():
    first, second = table(compared())
    assert (first["experiment"], first["number"], second["number"]) == ("exp_1", "0", "1")
    assert second["name"] == 'a "quoted", name'
    assert json.loads(second["coordinates"]) == {"norm": BATCH}
    assert json.loads(second["config"]) == {"norm": "batch"}
    assert (first["is_baseline"], second["is_baseline"]) == ("True", "False")
    assert (first["cells.succeeded"], first["cells.failed"]) == ("3", "0")
    assert (second["metric"], second["final.median"], second["best.n"]) == (METRIC, "0.95", "3")
    assert (second["target"], second["steps_to_target.median"]) == ("0.9", "200.0")
    assert (second["speed_up.equal_lr.ratio"], second["speed_up.best_lr.ratio"]) == ("4.0", "4.0")
    assert (first["findings"], second["findings"]) == ("drift (warn) in 1; noise (info) in 1", "")
    assert (first["speed_up.equal_lr.ratio"], first["seconds"], second["seconds"]) == ("", "8.0", "")


def test_columns_are_the_same_for_every_experiment():
    waiting = make_run(0, 0, step=0, status=CellStatus.QUEUED, latest={})
    selection = Selection(metric="validation/rmse", greater_is_better=False)
    search = Searching(name="optuna", sampler="TPESampler", trials=2, selection=selection)
    others = [
        make_subject([], []),
        make_subject([make_arm(0, {})], [waiting], target=None),
        make_subject([make_arm(0, {"optimizer.lr": 0.1}, trial=0)], [make_run(0, 0)], target=None, search=search),
        make_subject([make_arm(0, {"arm": "BN-x5"})], [make_run(0, 0, 50)], selection=selection),
        make_subject([make_arm(0, {})], [make_run(0, 0)], summary={"name": "a preset"}),
    ]
    columns = header(compared())
    assert len(set(columns)) == len(columns)
    assert [header(other) for other in others] == [columns] * len(others)
    for other in others:
        assert all(None not in row and None not in row.values() for row in table(other))


def test_columns_are_known_by_their_names():
    columns = header(compared())
    assert columns[:6] == ["experiment", "number", "name", "coordinates", "config", "is_baseline"]
    spread = [name.removeprefix("final.") for name in columns if name.startswith("final.")]
    assert spread[-6:] == ["q25", "q75", "min", "max", "ci.low", "ci.high"]
    assert {"speed_up.best_lr.at_least", "speed_up.equal_lr.ci.low", "steps_to_target.at_first"} < set(columns)


def test_gaps_have_a_column_for_each_measure():
    assert set(Gap.model_fields) == {measure for measures in MEASURES.values() for measure in measures}
    modes = {"train_mode": 3, "eval_mode": 1}
    gaps = {f"gap/{mode}/rmse": {"value": value, "step": 1} for mode, value in modes.items()}
    (row,) = table(make_subject([make_arm(0, {"norm": BATCH})], [make_run(0, 0, latest=gaps)]))
    assert (row["train_eval_gap.rmse"], row["train_eval_gap.accuracy"], row["precise_gap.rmse"]) == ("2.0", "", "")


def test_no_arms_no_rows():
    assert table(make_subject([], [])) == []
