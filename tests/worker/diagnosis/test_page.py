"""The documentation has a section for every code, and findings lead to it."""

import re

from tests.services import ROOT
from tests.worker.diagnosis.support import make_evidence
from worker.diagnosis.diagnose import diagnose
from worker.diagnosis.findings import PAGE
from worker.diagnosis.rules import CODES

PARTS = ("What it means.", "How it is measured.", "What to do.", "Source.")


def sections() -> dict[str, str]:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    parts = re.split(r"^## (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_code_has_its_section_and_every_section_its_code():
    assert sorted(sections()) == sorted(CODES)
    assert len(set(CODES)) == len(CODES)


def test_every_section_says_what_how_what_to_do_and_where_it_comes_from():
    for code, text in sections().items():
        assert [part for part in PARTS if f"**{part}**" not in text] == [], code


def test_links_within_the_page_lead_to_sections():
    targets = re.findall(r"\]\(#(\w+)\)", (ROOT / PAGE).read_text(encoding="utf-8"))
    assert set(targets) <= set(CODES)


def test_a_finding_leads_to_its_section():
    (finding,) = diagnose(make_evidence(norm={"name": "sync_batch"})).findings
    page, _, anchor = finding.reference.partition("#")
    assert (ROOT / page).exists()
    assert anchor in sections()
