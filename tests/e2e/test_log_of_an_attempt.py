"""What an attempt says by itself, over HTTP."""

import re

import pytest

from tests.e2e.client import DIGITS
from tests.services import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("service", ["embedded"], indirect=True)]

BEGINNING = re.compile(r"Attempt \d+ on cpu \(.+\), \d+ threads?, torch .+, float32; (.+)\.")


def lines(client, job_id, last, **query):
    """An attempt's lines, once the one has come that begins with `last`."""

    def whole():
        found = [line["text"] for line in client.get(f"/v1/jobs/{job_id}/logs", **query)["data"]]
        return found if found and found[-1].startswith(last) else None

    return wait_for(whole)


def test_the_log_of_an_ended_job_says_how_it_went(client):
    job = client.run(DIGITS, steps=100, evaluate={"every": 50}, checkpoint={"every": 100})
    first, *middle, last = lines(client, job["id"], "Succeeded")
    assert BEGINNING.fullmatch(first)[1] == "starts at the beginning"
    told = [line for line in middle if line.startswith("Step ")]
    assert [line.partition(":")[0] for line in told] == ["Step 50", "Step 100"]
    assert f"test/accuracy {job['latest']['test/accuracy']['value']:.4g}, " in told[-1]
    assert "The checkpoint of step 100 is saved." in middle
    assert last == "Succeeded: completed."


def test_the_log_of_a_paused_job_says_where_it_stopped_and_where_it_went_on(client):
    job_id = client.submit(DIGITS, steps=10**6, evaluate={"every": 10**5}, statistics={"every": 1000})
    wait_for(lambda: client.job(job_id)["progress"]["step"] > 0)
    client.http.post(f"/v1/jobs/{job_id}/pause")
    step = client.wait(job_id, "paused")["progress"]["step"]
    assert lines(client, job_id, "Stopped")[-1] == f"Stopped for a pause at step {step}."
    client.http.post(f"/v1/jobs/{job_id}/resume")
    client.wait(job_id, "running")
    client.http.post(f"/v1/jobs/{job_id}/cancel")
    client.wait(job_id)
    second = lines(client, job_id, "Stopped for a cancel", attempt=2)
    assert BEGINNING.fullmatch(second[0])[1] == f"goes on after step {step}"
