"""How the tests speak to the service: as any client would, over HTTP."""

from tests.services import wait_for

DIGITS = {
    "dataset": {"name": "digits"},
    "architecture": {"name": "mlp", "hidden": [32, 32], "activation": "relu"},
    "norm": {"name": "batch"},
    "batch_size": 60,
    "steps": 200,
}
#: Ioffe & Szegedy 2015, section 4.1, with small weights and a plain SGD.
PAPER = {
    "dataset": {"name": "mnist", "binarize": True},
    "architecture": {
        "name": "mlp",
        "hidden": [100, 100, 100],
        "activation": "sigmoid",
        "init": {"name": "normal", "std": 0.01},
    },
    "optimizer": {"name": "SGD", "lr": 0.1},
    "batch_size": 60,
    "steps": 3000,
}


class Client:
    """A few calls that most tests make."""

    def __init__(self, http):
        self.http = http

    def submit(self, spec=DIGITS, **changes) -> str:
        answer = self.http.post("/v1/jobs", json={**spec, **changes})
        assert answer.status_code == 201, answer.text
        assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
        return answer.json()["id"]

    def get(self, path: str, **query):
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def job(self, job_id: str):
        return self.get(f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, *statuses: str):
        """The job once it has ended, or has one of `statuses`."""

        def reached():
            job = self.job(job_id)
            return job if job["finished_at"] or job["status"] in statuses else None

        return wait_for(reached, timeout=300, every=0.05)

    def run(self, spec=DIGITS, **changes):
        """Submit and wait; the job must succeed."""
        job = self.wait(self.submit(spec, **changes))
        assert job["status"] == "succeeded", job["failure"]
        return job

    def cancel_all(self) -> None:
        """What a test that failed half-way leaves behind would take the slots of those that follow."""
        for kind in ("experiments", "jobs"):
            for each in self.get(f"/v1/{kind}", limit=100)["data"]:
                if each["finished_at"] is None:
                    self.http.post(f"/v1/{kind}/{each['id']}/cancel")
