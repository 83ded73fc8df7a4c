"""The paper's network over HTTP, and what is recorded of it."""

import numpy as np
import pytest

from api.schemas.records import MetricsOut, StatisticsOut
from tests.e2e.client import PAPER
from tests.services import wait_for

pytestmark = pytest.mark.e2e

SEEDS = (0, 1, 2)


class Follower:
    """Reads a job's metrics by cursor while it runs."""

    def __init__(self, client, job_id):
        self.client, self.job_id, self.cursor, self.steps, self.reads = client, job_id, None, {}, 0

    def read(self) -> None:
        more = True
        while more:
            query = {"after": self.cursor} if self.cursor else {}
            page = self.client.get(f"/v1/jobs/{self.job_id}/metrics", **query)
            assert "rewound_to" not in page
            for name, series in page["series"].items():
                assert len(series["step"]) == len(series["value"])
                self.steps.setdefault(name, []).extend(series["step"])
            self.reads += bool(page["series"])
            self.cursor, more = page["cursor"], page["more"]

    def ended(self) -> bool:
        ended = self.client.job(self.job_id)["finished_at"] is not None
        self.read()
        return ended


def ended_among(followers) -> int:
    """How many jobs have ended; reads on in all of them."""
    return sum(follower.ended() for follower in followers)


@pytest.mark.parametrize("service", ["embedded"], indirect=True)  # long, and the same on both
def test_batch_norm_makes_the_sigmoid_network_trainable_on_every_seed(client, data_dir, long):
    seeds, steps = (SEEDS, 3000) if long else (SEEDS[:1], 1500)
    jobs = {
        (norm, seed): client.submit(PAPER, norm={"name": norm}, seed=seed, steps=steps, evaluate={"every": 500})
        for seed in seeds
        for norm in ("none", "batch")
    }
    followers = [Follower(client, job_id) for job_id in jobs.values()]
    wait_for(lambda: ended_among(followers) == len(followers), timeout=300, every=0.1)

    for follower in followers:
        assert follower.reads > 1, "the metrics came in one piece: nothing was polled while it ran"
        assert follower.steps["train/loss"] == list(range(1, steps + 1))
        assert follower.steps["train/accuracy"] == list(range(1, steps + 1))
        assert follower.steps["test/accuracy"] == list(range(500, steps + 1, 500))
    accuracy = {key: client.job(job)["latest"]["test/accuracy"]["value"] for key, job in jobs.items()}
    assert all(accuracy["none", seed] < 0.2 for seed in seeds), accuracy
    assert all(accuracy["batch", seed] > 0.9 for seed in seeds), accuracy


def test_a_job_shows_what_it_did(client):
    job = client.run(name="first", labels={"team": "a"}, evaluate={"every": 50})
    assert job["name"] == "first"
    assert job["labels"] == {"team": "a"}
    assert job["attempt"] == 1
    assert job["progress"]["step"] == job["progress"]["steps"] == 200
    assert job["failure"] is None
    assert len(job["dataset"]["hash"]) == 64
    assert job["environment"]["device"] == "cpu"
    assert 0 <= job["queued_seconds"] <= job["first_step_seconds"]
    assert {metric: point["step"] for metric, point in job["latest"].items()} == dict.fromkeys(
        [
            *(f"{name}/{key}" for name in ("train", "test", "test/precise") for key in ("loss", "accuracy")),
            *(
                f"gap/{mode}/{key}"
                for mode in ("eval_mode", "train_mode", "train_mode_large", "precise")
                for key in ("loss", "accuracy")
            ),
            "lr",
            "samples_per_second",
        ],
        200,
    )
    tested = client.get(f"/v1/jobs/{job['id']}/metrics", names="test/accuracy")["series"]["test/accuracy"]
    assert tested["step"] == [50, 100, 150, 200]
    assert job["best"]["test/accuracy"]["value"] == max(tested["value"])
    events = client.get(f"/v1/jobs/{job['id']}/events")["data"]
    statuses = [event["data"]["status"] for event in events if event["type"] == "status"]
    assert statuses == ["queued", "starting", "running", "succeeded"]


def test_the_same_seed_gives_the_same_weights_bit_for_bit(client):
    def weights(**changes):
        job = client.run(**changes)
        model = client.get(f"/v1/jobs/{job['id']}/artifacts")["data"]
        return next(file["sha256"] for file in model if file["filename"] == "model.safetensors")

    assert weights(seed=3) == weights(seed=3)
    assert weights(seed=3) != weights(seed=4)


def test_statistics_show_train_mode_and_eval_mode_of_each_site(client):
    job = client.run(statistics={"every": 50, "units": {"norm1": [0, 7], "norm2": [3]}})
    page = client.get(f"/v1/jobs/{job['id']}/statistics", channels="all")
    assert list(page["sites"]) == ["norm1", "norm2"]
    for site, units in (("norm1", [0, 7]), ("norm2", [3])):
        record = page["sites"][site]
        assert (record["norm"], record["channels"], record["units"]) == ("batch", 32, units)
        assert record["step"] == [1, 50, 100, 150, 200]
        for mode in ("train", "eval"):
            for moment in ("mean", "var"):
                assert [len(row) for row in record[mode][moment]] == [32] * 5
        low, middle, high = (record["percentiles"][p] for p in ("15", "50", "85"))
        assert np.all(np.array(low) <= middle)
        assert np.all(np.array(middle) <= high)
        assert [len(row) for row in middle] == [len(units)] * 5
    one = client.get(f"/v1/jobs/{job['id']}/statistics", site="norm2", mode="eval", channels="5", from_step=100)
    assert one["sites"]["norm2"]["eval"]["mean"] == [
        [row[5]] for row in page["sites"]["norm2"]["eval"]["mean"][2:]
    ]
    assert "train" not in one["sites"]["norm2"]


def test_a_site_shows_its_neighbours_and_what_evaluations_found(client):
    job = client.run(statistics={"every": 50}, evaluate={"every": 100})
    address = f"/v1/jobs/{job['id']}/statistics"
    record = client.get(address, channels="0,5", site="norm1")["sites"]["norm1"]
    assert record["layer"]["name"] == "linear1"
    assert record["activation"]["name"] == "activation1"
    assert [len(record["layer"][name]) for name in ("weight_norm", "gradient_norm", "effective_lr")] == [5] * 3
    for group, names in (("drift", ["delta", "rho", "kl"]), ("noise", ["mean", "effective_batch"])):
        assert [np.shape(record[group][name]) for name in names] == [(5, 2)] * len(names)
    assert np.shape(record["activation"]["zero"]) == np.shape(record["affine"]["gamma"]) == (5, 2)
    assert record["population"]["step"] == [100, 200]
    assert np.shape(record["population"]["drift"]["delta"]) == (2, 2)
    summary = client.get(address, site="norm1", max_points=2)["sites"]["norm1"]
    assert summary["count"] == [2, 3]
    assert len(summary["activation"]["dead"]) == 2
    assert all(0.01 < noise < 1 for noise in summary["noise"]["mean"]["mean"])


def test_without_details_a_site_has_moments_alone(client):
    job = client.run(statistics={"every": 50, "details": False})
    record = client.get(f"/v1/jobs/{job['id']}/statistics", site="norm1")["sites"]["norm1"]
    assert set(record["train"]) == set(record["eval"]) == {"mean", "var"}
    assert [record[group] for group in ("drift", "noise", "affine")] == [None] * 3
    assert (record["units"], record["percentiles"]) == ([], {})


def test_a_network_without_norm_keeps_the_same_records(client):
    job = client.run(norm={"name": "none"})
    record = client.get(f"/v1/jobs/{job['id']}/statistics", site="norm2")["sites"]["norm2"]
    assert record["step"] == [1, 100, 200]
    assert record["eval"] is None
    assert set(record["train"]["mean"]) == {"mean", "min", "max"}
    latest = job["latest"]
    assert latest["gap/train_mode/accuracy"] == latest["gap/eval_mode/accuracy"]


def test_a_long_series_is_down_sampled_to_what_a_plot_needs(client):
    job = client.run(steps=2500, evaluate={"every": 2500})
    page = client.get(f"/v1/jobs/{job['id']}/metrics", names="train/loss", max_points=40)
    series = page["series"]["train/loss"]
    assert page["downsampled"] is True
    assert len(series["step"]) == 40
    assert sum(series["count"]) == 2500
    full = client.get(f"/v1/jobs/{job['id']}/metrics", names="train/loss")["series"]["train/loss"]["value"]
    assert min(series["min"]) == min(full)
    assert max(series["max"]) == max(full)


def test_numbers_are_as_the_documentation_describes_them(client):
    job = client.run(statistics={"every": 50})
    address = f"/v1/jobs/{job['id']}"
    for query in ({"channels": "summary"}, {"channels": "all"}, {"channels": "3"}, {"max_points": 2}):
        page = client.get(f"{address}/statistics", **query)
        assert StatisticsOut.model_validate(page).model_dump(exclude_unset=True) == page
    for query in ({}, {"max_points": 7}):
        page = client.get(f"{address}/metrics", **query)
        assert MetricsOut.model_validate(page).model_dump(exclude_unset=True) == page


def test_statistics_of_a_recurrent_site_have_time_steps(client):
    job = client.run(architecture={"name": "lstm", "hidden": [16]}, statistics={"every": 100})
    address = f"/v1/jobs/{job['id']}/statistics"
    for channels, inner in (("summary", None), ("all", 64), ("0,5,9", 3)):
        page = client.get(address, channels=channels, site="lstm1.norm_input")
        assert StatisticsOut.model_validate(page).model_dump(exclude_unset=True) == page
        record = page["sites"]["lstm1.norm_input"]
        assert (record["channels"], record["moments"], record["time_step"]) == (64, 64, list(range(8)))
        var = record["eval"]["var"] if inner else record["eval"]["var"]["mean"]
        shape = (3, 8, inner) if inner else (3, 8)
        assert np.shape(var) == shape
        assert np.ptp(var, axis=1).min() > 0, "all time steps have the same statistics"


def test_a_group_norm_has_moments_of_groups_and_no_eval_mode(client):
    norm = {"name": "group", "groups": 4}
    job = client.run(architecture={"name": "cnn", "channels": [8, 16]}, norm=norm, steps=100)
    record = client.get(f"/v1/jobs/{job['id']}/statistics", channels="all", site="norm2")["sites"]["norm2"]
    assert (record["channels"], record["moments"], record["eval"]) == (16, 4, None)
    assert np.shape(record["train"]["var"]) == (2, 4)
    latest = job["latest"]
    assert latest["gap/train_mode/accuracy"] == latest["gap/eval_mode/accuracy"]


@pytest.mark.parametrize("service", ["embedded"], indirect=True)  # long, and the same on both
def test_precise_statistics_mend_what_a_slow_average_has_not_reached_in_a_convolutional_network(client):
    job = client.run(
        architecture={"name": "resnet", "depth": 8},
        norm={"name": "batch", "momentum": 0.001},
        optimizer={"name": "SGD", "lr": 0.1},
        steps=150,
    )
    latest = {name: point["value"] for name, point in job["latest"].items()}
    assert latest["test/precise/accuracy"] > 0.8
    assert latest["test/precise/accuracy"] > latest["test/accuracy"] + 0.1
    assert abs(latest["gap/precise/accuracy"] - latest["gap/train_mode_large/accuracy"]) < 0.05
