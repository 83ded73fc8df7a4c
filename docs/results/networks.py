"""Each family of networks with its natural norm, trained for a few hundred steps by a running service.

    python docs/results/networks.py --url http://127.0.0.1:8000

Submits the jobs, waits for all of them, writes networks.md next to this file, and fails if a network does not beat
chance by the margin that is stated there. The service needs CIFAR-10 and MNIST.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from db.spec.job import JobSpec
from models.shapes import total_parameters

#: Share of the 1,000 test images by which each network must beat chance, in eval mode and with precise statistics.
#: The standard error of a share of 1,000 is at most 0.016.
MARGINS = {"cifar10": 0.2, "mnist": 0.6}
CLASSES = 10

SGD = {"name": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4}
ADAMW = {"name": "AdamW", "lr": 0.002}


@dataclass(frozen=True, kw_only=True)
class Network:
    """One row of the table: a network, its norm, and how it is trained."""

    title: str
    dataset: str
    architecture: dict[str, Any]
    norm: dict[str, Any] = field(default_factory=lambda: {"name": "batch"})
    optimizer: dict[str, Any] = field(default_factory=lambda: SGD)
    batch_size: int = 32
    steps: int = 300

    def spec(self) -> dict[str, Any]:
        """The job. It is evaluated once, at its end: on few cores that takes as long as many steps."""
        return {
            "name": f"{self.title}, norm {self.norm['name']}",
            "dataset": {"name": self.dataset, "standardize": True, "test_limit": 1000},
            "architecture": self.architecture,
            "norm": self.norm,
            "optimizer": self.optimizer,
            "batch_size": self.batch_size,
            "steps": self.steps,
            "evaluate": {"every": self.steps, "modes": ["precise"], "train_samples": 1000},
        }

    def parameters(self) -> int:
        return total_parameters(JobSpec.model_validate(self.spec()).blueprint())


#: The longest first, so that the cores end together.
NETWORKS = (
    Network(
        title="VGG-11",
        dataset="cifar10",
        architecture={"name": "vgg", "depth": 11},
        # The paper's own rate; at 0.05 it diverges in its first steps and does not recover.
        optimizer=SGD | {"lr": 0.01},
        steps=400,
    ),
    Network(
        title="Inception, an eighth of the width",
        dataset="cifar10",
        architecture={"name": "inception", "width": 0.125},
    ),
    Network(title="DenseNet-22, growth 12", dataset="cifar10", architecture={"name": "densenet", "depth": 22}),
    Network(title="ResNet-20", dataset="cifar10", architecture={"name": "resnet", "depth": 20}, steps=400),
    Network(
        title="LSTM over rows",
        dataset="mnist",
        architecture={"name": "lstm", "hidden": [128]},
        norm={"name": "layer"},
        optimizer=ADAMW,
        batch_size=64,
    ),
    Network(
        title="LSTM over rows",
        dataset="mnist",
        architecture={"name": "lstm", "hidden": [128]},
        optimizer=ADAMW,
        batch_size=64,
    ),
    Network(
        title="Transformer over rows",
        dataset="mnist",
        architecture={"name": "transformer"},
        norm={"name": "layer"},
        optimizer=ADAMW,
        batch_size=64,
    ),
)

TEXT = """\
# {date}: each family of networks learns

Every network with its natural norm, for a few hundred steps as a job of the service: enough to see that it learns,
far from what it can reach. Inputs are standardized; 1,000 test images; one seed; {device}, torch {torch}.

```sh
.venv/bin/normlab-server up                   # with NORMLAB_DATA_DIR where mnist/ and cifar10/ are
.venv/bin/python docs/results/networks.py --url http://127.0.0.1:8000
```

{table}

*eval* is `test/accuracy`, with the running averages; *precise* is `test/precise/accuracy`, with population
statistics from 1,000 training images (the same number where a norm keeps nothing). Chance is {chance:.0%}; the
command fails if one of the two does not beat it by the margin of {margins}.
The last column says by how much the lower one does. SGD has momentum 0.9 and weight decay 1e-4. Seconds run from
the start to the end of a job, its evaluation among them, with as many jobs at a time as there are cores and one
thread for each.
"""
COLUMNS = (
    "network",
    "data",
    "norm",
    "parameters",
    "steps",
    "batch",
    "optimizer",
    "seconds",
    "eval",
    "precise",
    "margin",
    "above chance by",
)


class Service(httpx2.Client):
    """A client with the few requests that this needs."""

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        response = self.request(method, path, **arguments)
        if response.is_error:
            sys.exit(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    def ended(self, id: str) -> dict[str, Any]:
        """The job, once it has ended; it must have succeeded."""
        while (job := self.ask("GET", f"/jobs/{id}"))["finished_at"] is None:
            time.sleep(1)
        if job["status"] != "succeeded":
            sys.exit(f"Job {id} {job['status']}: {job['failure']}")
        print(f"{id}: {job['name']}, {accuracies(job)}")
        return dict(job)


def accuracies(job: dict[str, Any]) -> tuple[float, float]:
    """Shares of the test images in eval mode and with precise statistics."""
    latest = job["latest"]
    return latest["test/accuracy"]["value"], latest["test/precise/accuracy"]["value"]


def seconds(job: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return (end - start).total_seconds()


def lead(job: dict[str, Any]) -> float:
    return min(accuracies(job)) - 1 / CLASSES


def row(network: Network, job: dict[str, Any]) -> str:
    optimizer = network.optimizer
    of_eval, precise = accuracies(job)
    cells = (
        network.title,
        network.dataset,
        network.norm["name"],
        f"{network.parameters():,}",
        network.steps,
        network.batch_size,
        f"{optimizer['name']} {optimizer['lr']}",
        f"{seconds(job):.0f}",
        f"{of_eval:.1%}",
        f"{precise:.1%}",
        f"{100 * MARGINS[network.dataset]:.0f} points",
        f"{100 * lead(job):.1f} points",
    )
    return f"| {' | '.join(map(str, cells))} |"


def write(jobs: list[dict[str, Any]]) -> None:
    environment = jobs[0]["environment"]
    rows = [row(network, job) for network, job in zip(NETWORKS, jobs, strict=True)]
    text = TEXT.format(
        date=jobs[-1]["finished_at"][:10],
        device=environment["device"],
        torch=environment["torch"],
        table="\n".join([f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS), *rows]),
        chance=1 / CLASSES,
        margins=", ".join(f"{100 * margin:.0f} points on {name}" for name, margin in MARGINS.items()),
    )
    Path(__file__).with_name("networks.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    options = parser.parse_args()
    service = Service(base_url=f"{options.url.rstrip('/')}/v1", timeout=60)
    ids = [str(service.ask("POST", "/jobs", json=network.spec())["id"]) for network in NETWORKS]
    jobs = [service.ended(id) for id in ids]
    write(jobs)
    short = [n.title for n, job in zip(NETWORKS, jobs, strict=True) if lead(job) < MARGINS[n.dataset]]
    if short:
        sys.exit(f"Not by the margin: {', '.join(short)}.")


if __name__ == "__main__":
    main()
