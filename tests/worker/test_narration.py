"""What attempts say of themselves in their logs."""

import pytest

from db.status import FailureCode, Status
from db.tables import Job
from worker import narration
from worker.narration import Narrator, beginning, ending

METRICS = {"test/loss": 0.112345, "test/accuracy": 0.97, "test/precise/loss": 1.0, "gap/eval_mode/loss": 2.0}
ENVIRONMENT = {"device": "cpu", "device_name": "x86_64", "threads": 1, "torch": "2.13.0", "precision": "float32"}


def test_an_evaluation_is_told_with_held_out_data_learning_rate_and_speed(capsys):
    Narrator().evaluated(500, {**METRICS, "lr": 0.1, "samples_per_second": 43000.4})
    told = "Step 500: test/loss 0.1123, test/accuracy 0.97, lr 0.1, 43,000 samples/s.\n"
    assert capsys.readouterr().out == told


def test_a_long_job_does_not_fill_its_log_with_what_is_told_of_it(capsys, monkeypatch):
    monkeypatch.setattr(narration, "MOST_LINES", 2)
    narrator = Narrator()
    for step in range(5):
        narrator.saved(step)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["The checkpoint of step 0 is saved.", "The checkpoint of step 1 is saved."]
    assert len(lines) == 3
    assert "the metrics and the timeline have them" in lines[2]


def test_the_beginning_says_where_and_from_which_step_on():
    fresh, later = beginning(1, ENVIRONMENT, 0), beginning(2, {**ENVIRONMENT, "threads": 4}, 500)
    assert fresh == "Attempt 1 on cpu (x86_64), 1 thread, torch 2.13.0, float32; starts at the beginning."
    assert later == "Attempt 2 on cpu (x86_64), 4 threads, torch 2.13.0, float32; goes on after step 500."


@pytest.mark.parametrize(
    ("status", "values", "told"),
    [
        (Status.SUCCEEDED, {"reason": "early_stopped"}, "Succeeded: early_stopped."),
        (Status.PAUSED, {"reason": "paused"}, "Stopped for a pause at step 812."),
        (Status.CANCELLED, {"reason": "cancelled"}, "Stopped for a cancel at step 812."),
        (Status.QUEUED, {"reason": "released"}, "Back in the queue after step 812: released."),
        (
            Status.FAILED,
            {"failure_code": FailureCode.DIVERGED, "failure_step": 7, "failure_message": "It became nan."},
            "Failed: diverged at step 7: It became nan.",
        ),
        (
            Status.FAILED,
            {"failure_code": FailureCode.DATA_ERROR, "failure_message": "There is no file."},
            "Failed: data_error: There is no file.",
        ),
    ],
)
def test_the_end_says_what_became_of_the_job(status, values, told):
    assert ending(Job(status=status, step=812, **values)) == told
