"""The presets as runs of a service: their reports, pictures and pages, and what must hold of them.

    python docs/results/presets.py run --url http://127.0.0.1:8000            # all, at the scale `quick`
    python docs/results/presets.py run --scale smoke wu2018-batch-size
    python docs/results/presets.py check                                      # what the last runs must show

`run` posts each preset, waits for it, keeps its report in presets/NAME.json, draws presets/NAME.png and writes the
table of presets/NAME.md; what stands around a table was written by people, and stays. The service needs
CIFAR-10 and MNIST.
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from preset_claims import CLAIMS
from preset_pages import write_overview, write_page

FOLDER = Path(__file__).with_name("presets")
#: Points of a drawn series, and jobs of one request.
POINTS, JOBS = 300, 50
#: Of the numbers that are kept: more than any statement needs.
DIGITS = 6


class Service(httpx2.Client):
    """A client with the few requests that this needs."""

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        response = self.request(method, path, **arguments)
        if response.is_error:
            sys.exit(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    def wait(self, id: str) -> dict[str, Any]:
        """The experiment once every cell has ended."""
        while (found := self.ask("GET", f"/experiments/{id}"))["status"] not in ("completed", "cancelled"):
            time.sleep(1)
        return dict(found)

    def cells(self, id: str) -> list[dict[str, Any]]:
        found, cursor = [], None
        while True:
            query = {"limit": 100} | ({"cursor": cursor} if cursor else {})
            page = self.ask("GET", f"/experiments/{id}/cells", params=query)
            found += page["data"]
            if (cursor := page["next_cursor"]) is None:
                return found

    def series(self, jobs: list[str], names: list[str]) -> dict[str, dict[str, Any]]:
        """Of each job the named series, down-sampled."""
        found = {}
        for start in range(0, len(jobs), JOBS):
            body = {"jobs": jobs[start : start + JOBS], "names": names, "max_points": POINTS}
            for entry in self.ask("POST", "/metrics/query", json=body)["data"]:
                found[entry["job"]] = {
                    name: {key: each[key] for key in ("step", "value")} for name, each in entry["series"].items()
                }
        return found


def run(service: Service, name: str, scale: str) -> dict[str, Any]:
    """Run a preset to its end; returns all that pages, pictures and claims are made of."""
    body = {"preset": name, "scale": scale}
    experiment = service.ask("POST", "/experiments", json=body)
    began = time.monotonic()
    print(f"{name}: {experiment['id']}, {experiment['progress']['total']} cells", flush=True)
    ended = service.wait(experiment["id"])
    report = service.ask("GET", f"/experiments/{experiment['id']}/report")
    cells = service.cells(experiment["id"])
    jobs = [cell["job"] for cell in cells]
    first = service.ask("GET", f"/jobs/{jobs[0]}")
    print(f"{name}: {ended['progress']['cells']} after {time.monotonic() - began:.0f} s", flush=True)
    return {
        "scale": scale,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "environment": first["environment"],
        "cells": [{key: cell[key] for key in ("arm", "seed", "status", "job", "value")} for cell in cells],
        "series": _series(service, report, jobs),
        "probes": _probes(service, report, cells),
        "report": report,
    }


def _series(service: Service, report: dict[str, Any], jobs: list[str]) -> dict[str, Any]:
    metric = report["selection"]["metric"]
    return {job: series.get(metric, {}) for job, series in service.series(jobs, [metric]).items()}


def _probes(service: Service, report: dict[str, Any], cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each job what its probes measured."""
    found: dict[str, Any] = {}
    for cell in cells:
        job = service.ask("GET", f"/jobs/{cell['job']}")
        for probe in job["resolved"]["probes"]:
            page = service.ask("GET", f"/jobs/{cell['job']}/probes/{probe['name']}")
            found.setdefault(cell["job"], {})[probe["name"]] = {
                key: page[key] for key in page if key not in ("cursor", "more", "options", "name")
            }
    return found


def rounded(value: Any) -> Any:
    """The same with numbers that are not longer than anyone reads them."""
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {key: rounded(inner) for key, inner in value.items()}
        case list():
            return [rounded(inner) for inner in value]
    return value


def check(names: list[str]) -> int:
    """Print what must hold and whether it does; returns how many statements fail."""
    failed = 0
    for name in names:
        found = json.loads((FOLDER / f"{name}.json").read_text())
        for letter, statement, holds, measured in CLAIMS.get(name, lambda _: [])(found):
            failed += not holds
            print(f"{'holds' if holds else 'FAILS'}  {name} {letter}: {statement} ({measured})")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "draw", "check"])
    parser.add_argument("names", nargs="*", help="presets; all if none is named")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--scale", choices=["smoke", "quick", "full"], default="quick")
    options = parser.parse_intermixed_args()
    kept = sorted(path.stem for path in FOLDER.glob("*.json"))
    if options.command == "check":
        sys.exit(f"{failed} fail" if (failed := check(options.names or kept)) else 0)
    service = Service(base_url=f"{options.url.rstrip('/')}/v1", timeout=60)
    if options.command == "run":
        names = options.names or [each["name"] for each in service.ask("GET", "/catalog/presets")["data"]]
        for name in names:
            found = rounded(run(service, name, options.scale))
            (FOLDER / f"{name}.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")
    # Here, because to check needs no matplotlib.
    from preset_pictures import draw

    for name in options.names or sorted(path.stem for path in FOLDER.glob("*.json")):
        found = json.loads((FOLDER / f"{name}.json").read_text())
        draw(name, found, FOLDER / f"{name}.png")
        write_page(name, found, FOLDER / f"{name}.md")
    write_overview(FOLDER, FOLDER.with_suffix(".md"))


if __name__ == "__main__":
    main()
