"""Faults in a run or in its data, which no spec expresses: each is named, and its twin has nothing bad."""

import pytest

from docs.results.planted import Workshop
from docs.results.planted_faults import FAULTS


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    workshop = Workshop.under(tmp_path_factory.mktemp("workshop"))
    yield workshop
    workshop.database.dispose()


def findings(workshop, fault, *, healthy):
    diagnosis = workshop.diagnose(fault, 0, healthy=healthy)
    return {finding.code: finding.severity.value for finding in diagnosis.findings}


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if not fault.in_the_spec], ids=lambda fault: fault.code
)
def test_a_fault_is_named_and_its_twin_has_nothing_bad(workshop, fault):
    assert fault.code in findings(workshop, fault, healthy=False)
    assert "bad" not in findings(workshop, fault, healthy=True).values()


def test_there_are_thirteen_of_them():
    assert len({fault.code for fault in FAULTS}) == 13
