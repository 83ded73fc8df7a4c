"""A regression over HTTP: the deep linear network of Santurkar et al. 2018."""

import pytest

pytestmark = pytest.mark.e2e

DEEP_LINEAR = {
    "dataset": {"name": "gaussian_linear"},
    "architecture": {
        "name": "mlp",
        "hidden": [10] * 24,
        "activation": "linear",
        "init": {"name": "xavier_normal"},
    },
    "norm": {"name": "batch"},
    "loss": {"reduction": "sum"},
    "optimizer": {"name": "SGD", "lr": 1e-7},
    "batch_size": 1000,
    "steps": 200,
}


def test_a_deep_linear_network_goes_all_the_way_through_the_service(client):
    job = client.run(DEEP_LINEAR)
    assert (job["resolved"]["task"], job["resolved"]["loss"]["name"]) == ("regression", "mse")
    for score in ("loss", "rmse", "r2"):
        assert {f"train/{score}", f"test/{score}", f"gap/train_mode/{score}"} <= set(job["latest"])
    assert not [name for name in job["latest"] if name.endswith("accuracy")]
    steps = client.get(f"/v1/jobs/{job['id']}/metrics", names="train/loss,train/r2")["series"]
    assert steps["train/loss"]["value"][-1] < steps["train/loss"]["value"][0]
    assert job["best"]["train/r2"]["value"] == max(steps["train/r2"]["value"])
    sites = client.get(f"/v1/jobs/{job['id']}/statistics")["sites"]
    assert list(sites) == [f"norm{depth}" for depth in range(1, 25)]
    config = client.get(f"/v1/jobs/{job['id']}/model", format="config")
    assert (config["task"], config["outputs"], config["input"]["shape"]) == ("regression", 10, [10, 1, 1])
