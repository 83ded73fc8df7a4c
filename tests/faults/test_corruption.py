"""Files that are not what was written: a run never goes on from them, and no client gets them."""

import os
import random
import signal

import pytest

from tests.faults.runs import SPEC, command, kept, outcome, path, pause, timeline
from tests.services import wait_for

pytestmark = pytest.mark.faults

NEEDED = ("state.pt", "model.safetensors", "model-ema.safetensors")


def flip(file, chance) -> None:
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def truncate(file, chance) -> None:
    file.write_bytes(file.read_bytes()[: chance.randrange(file.stat().st_size)])


def delete(file, _) -> None:
    file.unlink()


DAMAGE = {"file_damaged": (flip, truncate), "file_missing": (delete,)}
CASES = [(damage, name) for damages in DAMAGE.values() for damage in damages for name in NEEDED]
#: Each kind of damage and each file once.
FEW = [(flip, "state.pt"), (truncate, "model.safetensors"), (delete, "model-ema.safetensors")]


def more_checkpoints(stack, job: str, since: int) -> bool:
    found = kept(stack, job)
    return len(found) > 1 and found[1].row.step > since


def test_a_damaged_checkpoint_is_passed_over(stack, reference, long, seed, figures):
    chance, client = random.Random(seed), stack.client()
    cases = CASES if long else FEW
    spec = {**SPEC, "steps": 1000 * len(cases) + 200}
    expected = reference.of(spec)
    with figures.counting("a file of the newest checkpoint is damaged", stack) as tally:
        job, since = client.submit(spec), 0
        tally.ends[job] = "succeeded"
        for damage, name in cases:
            wait_for(lambda since=since: more_checkpoints(stack, job, since))
            pause(client, job)
            newest, before, *_ = kept(stack, job)
            tally.tried += 1
            damage(path(stack, newest.needed[name]), chance)
            command(client, job, "resume")
            lines = wait_for(lambda newest=newest: told_of(client, job, newest.row.id))
            assert damage in DAMAGE[lines[0]["data"]["message"]]
            resumed = wait_for(lambda lines=lines: after(client, job, lines[0]))
            assert resumed[0]["data"]["step"] == before.row.step
            since = newest.row.step
        assert client.wait(job)["status"] == "succeeded"
        stack.check_whole(job)
        assert outcome(stack, job) == expected
        tally.survived = tally.tried


def told_of(client, job: str, checkpoint: str):
    return [line for line in timeline(client, job, "checkpoint_damaged") if line["data"]["id"] == checkpoint]


def after(client, job: str, line):
    return [each for each in timeline(client, job, "resumed") if each["seq"] > line["seq"]]


@pytest.mark.usefixtures("only_long")
def test_a_job_whose_checkpoints_are_all_damaged_begins_anew(stack, reference, seed, figures):
    chance, client = random.Random(seed), stack.client()
    expected = reference.of(SPEC)
    with figures.counting("all checkpoints are damaged", stack) as tally:
        for _ in range(5):
            job = client.submit(SPEC)
            wait_for(lambda job=job: len(kept(stack, job)) > 1)
            pause(client, job)
            tally.tried += 1
            tally.ends[job] = "succeeded"
            found = kept(stack, job)
            for each in found:
                damage, name = chance.choice(CASES)
                damage(path(stack, each.needed[name]), chance)
            command(client, job, "resume")
            assert client.wait(job)["status"] == "succeeded"
            assert len(timeline(client, job, "checkpoint_damaged")) == len(found)
            assert timeline(client, job, "resumed") == []
            stack.check_whole(job)
            assert outcome(stack, job) == expected
            tally.survived += 1


def test_a_checkpoint_is_damaged_between_a_kill_and_the_next_attempt(stack, reference, long, seed, figures):
    chance, client = random.Random(seed), stack.client()
    expected = reference.of(SPEC)
    with figures.counting("a trainer is killed, and its newest checkpoint damaged", stack) as tally:
        for _ in range(5 if long else 1):
            job = client.submit(SPEC)
            wait_for(lambda job=job: len(kept(stack, job)) > 1)
            tally.tried += 1
            tally.ends[job] = "succeeded"
            (trainer,) = stack.workers[-1].trainers()
            # It must not save one more, nor its worker take it up before the damage is done.
            stack.workers[-1].freeze()
            newest = kept(stack, job)[0]
            damage, name = chance.choice(CASES)
            damage(path(stack, newest.needed[name]), chance)
            os.kill(trainer, signal.SIGKILL)
            stack.workers[-1].wake()
            shown = client.wait(job)
            assert (shown["status"], shown["attempt"]) == ("succeeded", 2), shown["failure"]
            (line,) = timeline(client, job, "checkpoint_damaged")
            assert line["data"]["id"] == newest.row.id
            stack.check_whole(job)
            assert outcome(stack, job) == expected
            tally.survived += 1


def test_a_file_that_was_cut_short_is_never_served_as_whole(stack, long, seed, figures):
    chance, client = random.Random(seed), stack.client()
    job = client.run(SPEC, steps=20)["id"]
    file = path(stack, kept(stack, job)[0].files["model.safetensors"])
    whole, content = file.read_bytes(), content_of(client, job, "model.safetensors")
    requests = [
        ("GET", content, {}),
        ("HEAD", content, {}),
        ("GET", content, {"Range": "bytes=0-9"}),
        ("GET", content, {"Range": "bytes=-9"}),
        ("GET", f"/v1/jobs/{job}/model", {}),
        ("HEAD", f"/v1/jobs/{job}/model", {}),
    ]
    with figures.counting("a model file is cut short and asked for", stack) as tally:
        for length in [0, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(50 if long else 2))]:
            file.write_bytes(whole[:length])
            tally.tried += len(requests)
            answers = [client.http.request(verb, url, headers=headers) for verb, url, headers in requests]
            tally.survived += sum(answer.status_code == 410 for answer in answers)
            assert answers[0].json()["code"] == "file_damaged"
        assert tally.survived == tally.tried
    flip(file, chance)
    file.write_bytes(file.read_bytes().ljust(len(whole), b"\0"))
    assert client.http.get(content).status_code == 410, "as long as it should be, and something else"
    file.write_bytes(whole)
    assert client.http.get(content).content == whole


def content_of(client, job: str, name: str) -> str:
    """Where a file of the job is served."""
    (artifact,) = [each for each in client.get(f"/v1/jobs/{job}/artifacts")["data"] if each["filename"] == name]
    return f"/v1/artifacts/{artifact['id']}/content"
