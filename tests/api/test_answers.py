"""What the API answers when all is well: ids, lists, the catalogue, documentation without a network."""

import re
import shutil
from datetime import datetime, timedelta, timezone
from typing import get_args

import pytest

from api.routes.catalog import part_name
from api.schemas.base import Out, Timestamp
from db.spec.job import JobSpec
from db.spec.schedulers.union import Scheduler
from db.tables import Job
from models.catalog.names import Architecture, NormName
from tests.api.test_bad_input import SPEC


def test_a_submission_is_answered_with_its_job_and_place(http):
    answer = http.post("/v1/jobs", json=SPEC)
    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert re.fullmatch(r"job_[0-9a-f]{32}", job["id"])
    assert job["status"] == "queued"
    assert job["spec"] == SPEC
    assert job["resolved"]["evaluate"]["every"] == 1
    assert job["created_at"].endswith("Z")
    found = http.get(answer.headers["Location"]).json()
    assert found.pop("queue")["position"] > 0
    assert {**found, "queue": None} == job
    events = http.get(f"/v1/jobs/{job['id']}/events").json()["data"]
    assert [(event["seq"], event["data"]["status"]) for event in events] == [(1, "queued")]


def test_what_may_not_be_meant_stands_in_the_jobs_timeline(http):
    job = http.post("/v1/jobs", json={**SPEC, "steps": 100, "norm": {"name": "sync_batch"}}).json()
    queued, warning = http.get(f"/v1/jobs/{job['id']}/events").json()["data"]
    assert (queued["type"], warning["type"]) == ("status", "warning")
    assert warning["data"]["pointer"] == "/norm/name"
    assert "one process, in which norm 'sync_batch' is plain 'batch'" in warning["data"]["message"]


def test_the_resolved_spec_is_a_spec_of_the_same_hash(http):
    job = http.post("/v1/jobs", json={**SPEC, "name": "a"}).json()
    again = http.post("/v1/jobs", json={**job["resolved"], "name": "b"}).json()
    assert again["resolved"] == {**job["resolved"], "name": "b"}
    assert again["spec_hash"] == job["spec_hash"]


def test_timestamps_sort_as_texts_also_at_a_whole_second():
    class Answer(Out):
        at: Timestamp

    whole = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    texts = [
        Answer(at=whole + timedelta(milliseconds=each)).model_dump(mode="json")["at"] for each in (-1, 0, 448)
    ]
    assert texts == sorted(texts)
    assert texts[1] == "2026-01-02T02:04:05.000000Z"
    assert Answer.model_json_schema(mode="serialization")["properties"]["at"]["format"] == "date-time"


def test_pages_hold_every_job_once(http):
    made = {http.post("/v1/jobs", json=SPEC).json()["id"] for _ in range(7)}
    seen, cursor = [], None
    while True:
        page = http.get("/v1/jobs", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["id"] for job in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert made <= set(seen)
    assert seen == sorted(seen, reverse=True)


def test_an_own_request_id_is_kept_and_a_strange_one_replaced(http):
    assert http.get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    assert http.get("/healthz", headers={"X-Request-Id": "a b" * 99}).headers["X-Request-Id"] != "a b" * 99


@pytest.mark.parametrize(
    ("catalog", "names"),
    [
        ("architectures", [name.value for name in Architecture]),
        ("norms", [name.value for name in NormName]),
        ("datasets", ["digits", "mnist", "cifar10", "gaussian_linear"]),
        ("optimizers", ["SGD", "AdamW"]),
        ("schedulers", [part_name(part) for part in get_args(get_args(Scheduler)[0])]),
    ],
)
def test_the_catalogue_names_what_a_job_may_name(http, catalog, names):
    assert [entry["name"] for entry in http.get(f"/v1/catalog/{catalog}").json()["data"]] == names


def test_the_catalogue_says_what_a_data_set_is_for(http):
    entries = {entry["name"]: entry for entry in http.get("/v1/catalog/datasets").json()["data"]}
    digits, gaussian = entries["digits"], entries["gaussian_linear"]
    assert (digits["task"], digits["outputs"], digits["classes"]) == ("classification", 10, 10)
    assert (gaussian["task"], gaussian["outputs"], gaussian["classes"]) == ("regression", 10, None)
    assert (digits["largest_value"], gaussian["largest_value"]) == (16, None)


@pytest.mark.parametrize("catalog", ["architectures", "norms", "optimizers", "schedulers"])
def test_every_option_has_a_type_a_default_or_a_need_words_and_a_source(http, catalog):
    for entry in http.get(f"/v1/catalog/{catalog}").json()["data"]:
        for option in entry["options"]:
            assert option["type"], (entry["name"], option)
            assert option["required"] or "default" in option
            assert option["description"].endswith("."), (entry["name"], option)
            assert option["source"], (entry["name"], option)


def test_an_option_of_a_norm_is_listed_as_the_spec_takes_it(http):
    norms = {entry["name"]: entry for entry in http.get("/v1/catalog/norms").json()["data"]}
    options = {option["name"]: option for option in norms["batch"]["options"]}
    assert list(options) == ["track", "position", "eps", "affine", "momentum", "freeze_after"]
    assert options["momentum"] == {
        "name": "momentum",
        "type": "number | null",
        "required": False,
        "default": 0.1,
        "allowed": None,
        "range": "more than 0, at most 1",
        "description": "Weight of the newest batch in the running averages (torch's convention, not Keras's); "
        "null weighs every batch the same.",
        "source": norms["batch"]["reference"],
        "parts": None,
    }
    assert options["position"]["allowed"][0] == "auto"
    assert "inception" in norms["batch"]["architectures"]
    assert norms["batch"]["formula"]


def test_the_layers_that_a_job_may_declare_are_listed_with_their_options(http):
    entries = {entry["name"]: entry for entry in http.get("/v1/catalog/architectures").json()["data"]}
    layers = next(option for option in entries["sequential"]["options"] if option["name"] == "layers")
    parts = {part["name"]: part for part in layers["parts"]}
    assert layers["type"] == "array of object"
    assert list(parts) == ["linear", "conv", "pool", "activation", "norm", "dropout", "flatten", "residual"]
    conv = {option["name"]: option for option in parts["conv"]["options"]}
    assert list(conv) == ["channels", "kernel", "stride", "padding", "bias"]
    assert (conv["stride"]["default"], conv["stride"]["range"]) == (1, "at least 1, at most 1024")
    init = next(option for option in entries["mlp"]["options"] if option["name"] == "init")
    normal = next(part for part in init["parts"] if part["name"] == "normal")
    assert [option["name"] for option in normal["options"]] == ["std"]
    assert "torch.nn.init" in init["source"]


def test_the_schema_of_the_spec_is_served(http):
    assert http.get("/v1/schemas/job.json").json() == JobSpec.model_json_schema()


def test_the_documentation_page_needs_no_network(http):
    page = http.get("/docs").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    assert all(address.startswith("/") for address in addresses)
    assert all(http.get(address).status_code == 200 for address in addresses)


def test_metrics_of_a_job_that_has_none_are_empty(http):
    job_id = http.post("/v1/jobs", json=SPEC).json()["id"]
    page = http.get(f"/v1/jobs/{job_id}/metrics").json()
    assert (page["series"], page["more"], page["downsampled"]) == ({}, False, False)
    table = http.get(f"/v1/jobs/{job_id}/metrics", headers={"Accept": "text/csv"})
    assert table.text.split() == ["name,step,value"]
    sites = http.get(f"/v1/jobs/{job_id}/statistics").json()["sites"]
    assert list(sites) == ["norm1", "norm2"]


def test_statistics_of_a_job_whose_spec_is_not_taken_any_more_say_why(http, database):
    job_id = http.post("/v1/jobs", json=SPEC).json()["id"]
    with database.write() as session:
        job = session.get_one(Job, job_id)
        job.resolved = {**job.resolved, "norm": {"name": "of_a_package_that_is_gone"}}
    assert http.get(f"/v1/jobs/{job_id}").status_code == 200
    answer = http.get(f"/v1/jobs/{job_id}/statistics")
    assert (answer.status_code, answer.json()["code"]) == (409, "spec_not_taken_any_more")
    assert "of_a_package_that_is_gone" in answer.json()["detail"]


def test_the_service_is_ready_until_a_part_is_gone(http, settings):
    assert http.get("/readyz").json() == {
        "status": "ok",
        "checks": {"database": "ok", "store": "ok", "broker": "ok"},
    }
    queue = settings.messages / "queue"
    aside = shutil.move(queue, settings.messages / "aside")
    try:
        assert http.post("/v1/jobs", json=SPEC).status_code == 201, "a lost message is only a delay"
    finally:
        shutil.move(aside, queue)
