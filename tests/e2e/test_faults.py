"""Faults that a client can plant by the spec of a job: each is named, and its twin has nothing bad."""

import pytest

from docs.results.planted_faults import FAULTS

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("service", ["embedded"], indirect=True)]

IN_THE_SPEC = [fault for fault in FAULTS if fault.in_the_spec]


def findings(client, spec):
    """Of a job at its end."""
    job = client.wait(client.submit(spec))
    answer = client.get(f"/v1/jobs/{job['id']}/diagnosis")
    assert answer["final"]
    return {finding["code"]: finding["severity"] for finding in answer["findings"]}


@pytest.mark.parametrize("fault", IN_THE_SPEC, ids=lambda fault: fault.code)
def test_a_fault_is_named_and_its_twin_has_nothing_bad(client, fault):
    assert fault.code in findings(client, fault.job(0, healthy=False))
    assert "bad" not in findings(client, fault.job(0, healthy=True)).values()
