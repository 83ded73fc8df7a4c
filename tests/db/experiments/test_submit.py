"""Submitting: each cell once, however often it is declared."""

from threading import Thread

import pytest
import sqlalchemy as sa

from db import commands as job_commands
from db import lease
from db.experiments import commands
from db.experiments.arms import expand
from db.experiments.cells import ArmTaken, ExperimentFull
from db.experiments.declaration import Declaration
from db.experiments.submit import NameTaken, submit
from db.experiments.tables import Experiment
from tests.db.experiments.support import asked, begun, cells_of, counts, launched, post, run_all, run_next, status
from tests.db.support import spec_values


def test_cells_go_through_all_arms_before_the_next_seed(database):
    made = post(database)
    cells = cells_of(database, made.experiment.id)
    assert (made.is_new, made.added) == (True, 8)
    assert [(cell.arm, cell.seed) for cell in cells] == [(arm, seed) for seed in (0, 1) for arm in range(4)]


def test_posting_it_again_adds_nothing(database):
    first = post(database)
    again = post(database)
    assert (again.experiment.id, again.is_new, again.added) == (first.experiment.id, False, 0)
    assert len(cells_of(database, first.experiment.id)) == 8


def test_without_a_name_the_same_declaration_is_the_same_experiment(database):
    first, again = post(database, name=None), post(database, name=None, max_parallel=3)
    more, other = post(database, name=None, seeds=[2]), post(database, name=None, axes={"norm": ["batch"]})
    assert first.experiment.id == again.experiment.id == more.experiment.id != other.experiment.id
    assert (again.added, more.added, other.added) == (0, 4, 2)
    assert again.experiment.declaration["max_parallel"] == 3


def test_posting_more_adds_only_what_is_missing(database):
    first = post(database)
    before = [cell.cell_id for cell in cells_of(database, first.experiment.id)]
    more = post(database, seeds=[0, 1, 2], axes={"norm": ["none", "batch", "layer"], "optimizer.lr": [0.1, 0.3]})
    after = cells_of(database, first.experiment.id)
    assert more.added == 10
    assert [cell.cell_id for cell in after[:8]] == before
    assert len({cell.cell_id for cell in after}) == 18
    assert [cell.number for cell in after] == list(range(18))


def test_posting_less_takes_nothing_away(database):
    first = post(database)
    assert post(database, seeds=[0]).added == 0
    assert len(cells_of(database, first.experiment.id)) == 8


TOLD = {
    "baseline": {"norm": "none"},
    "target": {"metric": "test/accuracy", "value": 0.9},
    "labels": {"team": "a"},
    "max_parallel": 3,
    "priority": 7,
    "reuse": True,
}


def test_what_is_left_out_stays_as_it_was(database):
    post(database, **TOLD)
    again = post(database, seeds=3).experiment.declaration
    assert {field: again[field] for field in TOLD} == TOLD
    new = {"target": None, "baseline": None, "max_parallel": None, "labels": {}, "priority": 0, "reuse": False}
    again = post(database, **new).experiment.declaration
    assert {field: again[field] for field in new} == new


def test_seeds_are_added_to_those_that_there_are(database):
    post(database, seeds=[5, 1])
    made = post(database, seeds=[0, 1])
    assert (made.added, made.experiment.declaration["seeds"]) == (4, [5, 1, 0])
    assert made.experiment.declared == 12 == len(cells_of(database, made.experiment.id))
    more = post(database, seeds=[0], axes={"norm": ["layer"], "optimizer.lr": [0.1, 0.3]})
    assert more.added == 6, "new arms are run with every seed"
    assert (more.experiment.declaration["seeds"], more.experiment.declared) == ([5, 1, 0], 6)


def test_what_a_preset_says_does_not_replace_what_was_there(database):
    given = {"preset": "placement", "scale": "smoke"}
    own = {"target": {"metric": "test/accuracy", "value": 0.5}, "seeds": [7, 8]}
    made = []
    for body in (given | own, given, given | {"target": None}):
        declaration = Declaration.model_validate(body)
        with database.write() as session:
            made.append(submit(session, declaration, expand(declaration)))
            values = dict(made[-1].experiment.declaration)
        assert values["target"] == (None if "target" in body and body["target"] is None else own["target"])
        assert values["seeds"] == [7, 8]
    assert [each.added for each in made[1:]] == [0, 0]


def test_a_search_is_never_shortened(database):
    def searched(trials, seeds):
        search = {"name": "optuna", "trials": trials, "space": {"optimizer.lr": {"low": 0.01, "high": 1.0}}}
        return post(database, search=search, seeds=seeds, axes={"norm": ["none", "batch"]})

    assert [searched(4, 2).added, searched(2, 1).added, searched(5, [9]).added] == [16, 0, 14]
    made = searched(1, 1).experiment
    assert (made.declaration["search"]["trials"], made.declaration["seeds"]) == (5, [0, 1, 9])
    assert made.declared == 30


def test_a_name_belongs_to_one_base(database):
    post(database)
    with pytest.raises(NameTaken, match="Choose another name"):
        post(database, base=spec_values(batch_size=8))


def test_one_experiment_does_not_grow_beyond_the_most(database):
    post(database, seeds=1000, axes={"norm": ["none", "batch"], "optimizer.lr": [0.1, 0.2, 0.3]})
    with pytest.raises(ExperimentFull, match="12000 cells"):
        post(database, seeds=1000, axes={"norm": ["layer", "rms"], "optimizer.lr": [0.1, 0.2, 0.3]})


def test_what_was_cancelled_goes_on(database):
    made = post(database, max_parallel=3).experiment
    launched(database, made.id)
    run_next(database)
    asked(database, made.id, commands.cancel)
    assert status(database, made.id) == "cancelled"
    again = post(database, max_parallel=3)
    assert again.added == 2, "those whose jobs were cancelled; the others had none yet"
    assert run_all(database, made.id) == 7
    assert counts(database, made.id) == {"succeeded": 8}


def test_a_cell_whose_job_was_deleted_is_missing(database):
    made = post(database).experiment
    run_all(database, made.id)
    lost = cells_of(database, made.id)[3]
    with database.write() as session:
        job_commands.delete(session, lost.job_id)
    assert counts(database, made.id) == {"succeeded": 7, "deleted": 1}
    assert launched(database, made.id) == [], "it was deleted on purpose"
    assert post(database).added == 1
    assert len(launched(database, made.id)) == 1


def test_many_requests_at_a_time_make_one_experiment(database):
    made, threads = [], [Thread(target=lambda: made.append(post(database))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Experiment)) == 1
    assert sorted(each.is_new for each in made) == [False] * 5 + [True]
    assert sum(each.added for each in made) == 8


@pytest.mark.parametrize("is_search", [False, True])
def test_a_named_arm_is_one_setting(database, is_search):
    space = {"optimizer.lr": {"low": 0.01, "high": 1.0}}
    search = {"name": "optuna", "trials": 2, "space": space} if is_search else None
    same = {"axes": {}, "search": search}
    post(database, arms=[{"name": "A", "set": {"norm": "batch"}}], **same)
    with pytest.raises(ArmTaken, match="another name"):
        post(database, arms=[{"name": "A", "set": {"norm": "layer"}}], **same)


def test_what_is_still_stopping_goes_on_too(database):
    made = post(database, max_parallel=1).experiment
    launched(database, made.id)
    hold = begun(database)
    asked(database, made.id, commands.cancel)
    assert post(database, max_parallel=1).added == 1
    assert launched(database, made.id) == [], "not while it stops"
    with database.write() as session:
        lease.cancelled(session, hold)
    run_all(database, made.id)
    assert counts(database, made.id) == {"succeeded": 8}


def test_more_seeds_after_a_pause_that_came_too_late_run(database):
    made = post(database, seeds=[0], axes={"norm": ["batch"]}).experiment
    launched(database, made.id)
    hold = begun(database)
    asked(database, made.id, commands.pause)
    with database.write() as session:
        lease.succeed(session, hold)
    assert status(database, made.id) == "completed"
    post(database, seeds=[0, 1], axes={"norm": ["batch"]})
    assert len(launched(database, made.id)) == 1
