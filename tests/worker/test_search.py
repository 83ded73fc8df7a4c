"""Searches: trials are ordinary jobs, chosen by what came of those before."""

import math
from statistics import median

import pytest

from api.report import report
from db.experiments import commands, launch
from db.experiments.cells import ExperimentFull
from db.experiments.reading import subject
from db.experiments.tables import ExperimentArm, Study
from db.tables import Job
from tests.db.experiments.support import (
    DIVERGED,
    asked,
    cells_of,
    counts,
    post,
    run_next,
    status,
)
from worker import search

LR = {"optimizer.lr": {"low": 0.001, "high": 10.0, "log": True}}
ONE_ARM = {"axes": {"norm": ["batch"]}, "seeds": [0]}


def search_of(**changes):
    return {"search": {"name": "optuna", "trials": 6, "space": LR} | changes}


def look(database, experiment_id: str) -> list[str]:
    """What a launcher does with it at one look."""
    with database.write() as session:
        held = launch.hold(session, experiment_id)
        search.ask(session, held, launch.room(session, held), memory_limit_bytes=2**30)
        return launch.launch(session, held)


def rates(database, experiment_id: str, study: int = 0) -> list[float]:
    """The learning rates of a study's trials."""
    with database.read() as session:
        arms = session.query(ExperimentArm).filter_by(experiment_id=experiment_id, study=study)
        return [arm.resolved["optimizer"]["lr"] for arm in arms.order_by(ExperimentArm.trial)]


def play(database, experiment_id: str, accuracy) -> None:
    """Run all trials; `accuracy` says what comes of a learning rate, or None that it diverges."""
    while look(database, experiment_id):
        while counts(database, experiment_id).get("queued"):
            with database.read() as session:
                first = session.query(Job).filter_by(status="queued").order_by(Job.run_at, Job.id).first()
            found = accuracy(first.resolved["optimizer"]["lr"])
            latest = {"test/accuracy": {"value": found, "step": 1000}}
            run_next(database, DIVERGED) if found is None else run_next(database, latest=latest)


def good_at_one(lr: float) -> float | None:
    """Best at a learning rate of 1, the worse the further away, and no result above 5."""
    return None if lr > 5 else 1 - 0.1 * abs(math.log10(lr))


def test_every_study_has_all_its_trials_with_every_seed(database):
    made = post(database, axes={"norm": ["none", "batch"]}, **search_of()).experiment.id
    play(database, made, good_at_one)
    assert status(database, made) == "completed"
    cells = cells_of(database, made)
    assert len(cells) == len({cell.cell_id for cell in cells}) == 2 * 6 * 2
    for study in (0, 1):
        tried = rates(database, made, study)
        assert len(set(tried)) == 6
        assert all(0.001 <= lr <= 10 for lr in tried)


def test_no_more_trials_run_at_a_time_than_may(database):
    made = post(database, **ONE_ARM, **search_of(), max_parallel=2).experiment.id
    assert len(look(database, made)) == 2
    assert look(database, made) == []
    assert len(rates(database, made)) == 2


def test_it_looks_where_it_was_good(database):
    made = post(database, **ONE_ARM, **search_of(trials=40), max_parallel=1).experiment.id
    play(database, made, good_at_one)
    distances = [abs(math.log10(lr)) for lr in rates(database, made)]
    assert median(distances[20:]) < 0.7 * median(distances[:10])


def test_at_random_nothing_is_learned(database):
    found = []
    for accuracy in (good_at_one, lambda lr: lr / 10):
        name = f"random {len(found)}"
        made = post(database, name=name, **ONE_ARM, **search_of(sampler="RandomSampler"), max_parallel=1)
        play(database, made.experiment.id, accuracy)
        found.append(rates(database, made.experiment.id))
    assert found[0] == found[1]


def test_another_worker_would_have_asked_the_same(database):
    found = []
    for name in ("one", "two"):
        made = post(database, name=name, **ONE_ARM, **search_of(trials=14), max_parallel=1).experiment.id
        play(database, made, good_at_one)
        found.append(rates(database, made))
    assert found[0] == found[1]


def test_whole_parts_are_choices(database):
    space = {"norm": {"choices": [{"name": "batch", "momentum": 0.2}, "layer", {"name": "none"}]}}
    made = post(database, axes={}, seeds=[0], **search_of(space=space, trials=3)).experiment.id
    play(database, made, lambda lr: 0.5)
    with database.read() as session:
        norms = {arm.resolved["norm"]["name"] for arm in session.query(ExperimentArm)}
    assert norms == {"batch", "layer", "none"}


def test_a_study_that_finds_nothing_new_is_done(database):
    space = {"norm": {"choices": ["batch", "layer"]}}
    made = post(database, axes={}, seeds=[0], **search_of(space=space, trials=30)).experiment.id
    play(database, made, lambda lr: 0.5)
    assert status(database, made) == "completed"
    assert counts(database, made) == {"succeeded": 2}
    with database.read() as session:
        assert all(study.is_done for study in session.query(Study))


def test_what_no_job_takes_is_not_tried(database):
    # Each is taken with the first of the others; four groups of four units would have one each.
    space = {"norm.groups": {"choices": [2, 4]}, "architecture.hidden": {"choices": [[32, 16], [8, 4]]}}
    arms = {"axes": {}, "seeds": [0], "arms": [{"name": "GN", "set": {"norm": {"name": "group", "groups": 2}}}]}
    made = post(database, **arms, **search_of(space=space, trials=4)).experiment.id
    play(database, made, lambda lr: 0.5)
    with database.read() as session:
        resolved = [arm.resolved for arm in session.query(ExperimentArm)]
    tried = {(each["norm"]["groups"], *each["architecture"]["hidden"]) for each in resolved}
    assert tried == {(2, 32, 16), (4, 32, 16), (2, 8, 4)}


def test_a_cancelled_trial_says_nothing(database):
    made = post(database, **ONE_ARM, **search_of(), max_parallel=1).experiment.id
    (job_id,) = look(database, made)
    with database.write() as session:
        commands.commands.cancel(session, job_id)
    play(database, made, good_at_one)
    found = counts(database, made)
    assert found.pop("cancelled") == 1
    assert sum(found.values()) == 5, "those that succeeded and those that diverged"


def test_trials_may_be_added(database):
    made = post(database, **ONE_ARM, **search_of(trials=2)).experiment.id
    play(database, made, lambda lr: 0.5)
    assert status(database, made) == "completed"
    post(database, **ONE_ARM, **search_of(trials=3))
    assert status(database, made) == "running"
    play(database, made, lambda lr: 0.5)
    assert len(rates(database, made)) == 3


def test_seeds_may_be_added(database):
    made = post(database, **ONE_ARM, **search_of(trials=3)).experiment.id
    play(database, made, lambda lr: 0.5)
    more = post(database, axes=ONE_ARM["axes"], seeds=[0, 1], **search_of(trials=3))
    assert more.added == 3, "each stored trial gets the new seed"
    play(database, made, lambda lr: 0.5)
    assert counts(database, made) == {"succeeded": 6}


def test_posting_a_search_again_adds_nothing(database):
    space = {"norm": {"choices": ["batch", "layer"]}}
    declared = {"axes": {}, "seeds": [0]} | search_of(space=space, trials=30)
    made = post(database, **declared).experiment.id
    play(database, made, lambda lr: 0.5)
    assert post(database, **declared).added == 0
    assert status(database, made) == "completed"


def test_every_choice_is_tried_where_there_is_a_trial_for_each(database):
    space = {"optimizer.lr": {"choices": [0.001 * number for number in range(1, 21)]}}
    made = post(database, **ONE_ARM, **search_of(space=space, trials=20), max_parallel=1).experiment.id
    play(database, made, lambda lr: lr)
    assert len(set(rates(database, made))) == 20


def test_what_would_not_fit_into_memory_is_not_tried(database):
    space = {"architecture.hidden": {"choices": [[8], [4096] * 32]}}
    made = post(database, axes={}, seeds=[0], **search_of(space=space, trials=4)).experiment.id
    play(database, made, lambda lr: 0.5)
    with database.read() as session:
        assert [arm.resolved["architecture"]["hidden"] for arm in session.query(ExperimentArm)] == [[8]]


def test_infinite_results_of_either_sign_are_the_worst(database):
    made = post(
        database, axes={"norm": ["batch"]}, seeds=[0, 1], **search_of(trials=3), max_parallel=2
    ).experiment.id
    values = iter([math.inf, -math.inf, math.nan, 0.5, 0.5, 0.5])
    while look(database, made):
        while counts(database, made).get("queued"):
            point = {"value": next(values), "step": 1000}
            run_next(database, latest={"test/accuracy": {**point, "value": str(point["value"])}})
    assert status(database, made) == "completed"


def test_a_search_of_too_many_cells_is_refused_where_it_is_posted(database):
    post(database, axes={"norm": ["batch"]}, **search_of(trials=4000))
    with pytest.raises(ExperimentFull, match="16000 cells"):
        post(database, axes={"norm": ["layer"]}, **search_of(trials=4000))


def test_a_paused_search_asks_for_nothing(database):
    made = post(database, **ONE_ARM, **search_of(), max_parallel=1).experiment.id
    asked(database, made, commands.pause)
    with database.read() as session:
        assert launch.due(session) == []
    assert status(database, made) == "paused"


@pytest.mark.parametrize("metric", [None, "test/loss"])
def test_the_direction_follows_the_metric(database, metric):
    made = post(database, **ONE_ARM, **search_of(trials=25, metric=metric), max_parallel=1).experiment.id
    # The loss is lowest where the accuracy is highest here: at the largest rates.
    name = metric or "test/accuracy"
    sign = -1 if metric else 1
    while look(database, made):
        with database.read() as session:
            lr = session.query(Job).filter_by(status="queued").one().resolved["optimizer"]["lr"]
        run_next(database, latest={name: {"value": sign * math.log10(lr), "step": 1000}})
    tried = rates(database, made)
    assert median(tried[-10:]) > 3 * median(tried[:10])


def test_the_report_names_the_best_trial_of_all_studies(database):
    made = post(database, axes={"norm": ["none", "batch"]}, seeds=[0], **search_of(trials=3)).experiment.id
    play(database, made, good_at_one)
    with database.read() as session:
        found = report(subject(session, commands.get(session, made)))
    tried = [arm.config["optimizer.lr"] for arm in found.arms]
    best = max(range(6), key=lambda number: good_at_one(tried[number]) or -1)
    assert (found.search.trials, found.search.tried, found.search.sampler) == (6, 6, "TPESampler")
    assert (found.search.best_arm, found.search.best_value) == (best, good_at_one(tried[best]))
    assert found.search.metric == found.selection.metric
