"""Thirteen planted faults and their healthy twins: does the diagnosis name each, and nothing bad in the twins?

    python -m docs.results.diagnosis --url http://127.0.0.1:8000

Jobs whose spec has the fault run on the service at that address; those with a fault in the run or in the data run
here, against a database in a temporary folder. Writes diagnosis.md next to this file, and fails if fewer than 12
of the 13 faults are found for some seed, or a twin has a bad finding.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import torch

from docs.results.planted import Workshop
from docs.results.planted_faults import FAULTS, Fault

SEEDS = (0, 1, 2)
LEAST_FOUND = 12

TEXT = """\
# {date}: thirteen planted faults

Each fault is planted in a job of a second or so on the bundled digits, with three seeds; its twin is the same job
without it. {found} of {all} jobs with a fault were diagnosed with the code that names it, {worst} of {faults}
for the seed with the fewest; {false} of {all} twins had a finding of severity `bad`, {warned} one of `warn`.
torch {torch}, CPU.

```sh
.venv/bin/normlab-server up
.venv/bin/python -m docs.results.diagnosis --url http://127.0.0.1:8000
```

## What was found

Rows are faults, columns seeds. **Bold** is the code that should be found; what follows from another finding stands
in parentheses, notes (severity `info`) are left out unless they are what should be found.

{table}

## What was taken for what

In how many of {seeds} seeds the code of each fault was found (columns have the order of the rows), whatever its
severity and whether or not it follows from another finding; off the diagonal stand effects of a fault, and errors.
The last row counts all twins.

{confusion}

The thresholds are those of [diagnosis.md](../diagnosis.md), some of them set on small networks on the same digits:
this says that the rules work there, not how often they are right elsewhere. [faults.py](faults.py) has the jobs.
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The findings of one job, as the API gives them."""

    findings: Sequence[Mapping[str, Any]]

    def has(self, code: str) -> bool:
        return any(finding["code"] == code for finding in self.findings)

    def codes(self, severity: str) -> list[str]:
        return [finding["code"] for finding in self.findings if finding["severity"] == severity]

    def shown(self, expected: str) -> str:
        """As a cell of the table."""
        parts = []
        for finding in self.findings:
            code = finding["code"]
            if code == expected:
                parts.append(f"**{code}**")
            elif finding["severity"] != "info":
                parts.append(f"({code})" if finding["because_of"] else code)
        return ", ".join(parts) or "-"


#: By fault, seed, and whether it is the twin.
Results = dict[tuple[Fault, int, bool], Result]


def main() -> None:
    parser = argparse.ArgumentParser(description="Planted faults and their diagnosis.")
    parser.add_argument("--url", required=True, help="a running service")
    url = parser.parse_args().url
    torch.set_num_threads(1)
    results = over_http(url) | here()
    found = {seed: sum(results[fault, seed, False].has(fault.code) for fault in FAULTS) for seed in SEEDS}
    false = sum(bool(result.codes("bad")) for (_, _, healthy), result in results.items() if healthy)
    (Path(__file__).parent / "diagnosis.md").write_text(page(results, found, false), encoding="utf-8")
    print(f"found {found}, twins with a bad finding: {false}", file=sys.stderr)
    if min(found.values()) < LEAST_FOUND or false:
        sys.exit(1)


def over_http(url: str) -> Results:
    """The jobs whose spec has the fault."""
    with httpx2.Client(base_url=url, timeout=60) as http:
        jobs = {
            (fault, seed, healthy): submit(http, fault.job(seed, healthy=healthy))
            for fault in FAULTS
            if fault.in_the_spec
            for seed in SEEDS
            for healthy in (False, True)
        }
        return {key: diagnosis(http, job) for key, job in jobs.items()}


def submit(http: httpx2.Client, spec: dict[str, Any]) -> str:
    """Queue a job."""
    answer = http.post("/v1/jobs", json=spec)
    answer.raise_for_status()
    return str(answer.json()["id"])


def diagnosis(http: httpx2.Client, job_id: str) -> Result:
    """Of a job at its end, for which this waits."""
    while not http.get(f"/v1/jobs/{job_id}").raise_for_status().json()["finished_at"]:
        time.sleep(0.2)
    return Result(findings=http.get(f"/v1/jobs/{job_id}/diagnosis").raise_for_status().json()["findings"])


def here() -> Results:
    """The jobs with a fault in the run or in the data."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop.under(Path(folder))
        return {
            (fault, seed, healthy): Result(
                findings=[
                    {"code": each.code, "severity": each.severity.value, "because_of": each.because_of}
                    for each in workshop.diagnose(fault, seed, healthy=healthy).findings
                ]
            )
            for fault in FAULTS
            if not fault.in_the_spec
            for seed in SEEDS
            for healthy in (False, True)
        }


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def confusion(results: Results) -> str:
    """How often each code was found with each fault planted."""

    def counted(findings: Sequence[Result]) -> list[str]:
        counts = [sum(result.has(other.code) for result in findings) for other in FAULTS]
        return [str(count or "") for count in counts]

    rows = [
        [f"{number} `{fault.code}`", *counted([results[fault, seed, False] for seed in SEEDS])]
        for number, fault in enumerate(FAULTS, 1)
    ]
    twins = [result for (_, _, healthy), result in results.items() if healthy]
    return table(["planted", *map(str, range(1, len(FAULTS) + 1))], [*rows, ["twins", *counted(twins)]])


def page(results: Results, found: Mapping[int, int], false: int) -> str:
    """The whole page."""
    rows = [
        [
            fault.title,
            "the spec, over HTTP" if fault.in_the_spec else "the run" if fault.plant else "the data",
            *(results[fault, seed, False].shown(fault.code) for seed in SEEDS),
        ]
        for fault in FAULTS
    ]
    return TEXT.format(
        date=datetime.now().date().isoformat(),
        found=sum(found.values()),
        all=len(FAULTS) * len(SEEDS),
        worst=min(found.values()),
        faults=len(FAULTS),
        false=false,
        warned=sum(bool(result.codes("warn")) for (_, _, healthy), result in results.items() if healthy),
        torch=torch.__version__.partition("+")[0],
        seeds=len(SEEDS),
        table=table(["fault", "planted in", *(f"seed {seed}" for seed in SEEDS)], rows),
        confusion=confusion(results),
    )


if __name__ == "__main__":
    main()
