"""The documentation says what the code does."""

import json
import re
import subprocess
import sys

import pytest

from api.schemas.experiments import CellOut
from db.events import EventType
from db.experiments.arms import expand
from db.experiments.declaration import Declaration
from db.experiments.status import CellStatus
from db.presets.table import PRESETS
from db.status import REPEATS, TRANSITIONS, FailureCode, Status, is_retryable
from docs import catalog
from models.catalog.registry import architectures, norms
from models.shapes import sites
from tests.db.experiments.support import declared
from tests.db.support import make_spec
from tests.services import ROOT


@pytest.mark.parametrize("name", catalog.PAGES)
def test_pages_of_the_catalogue_are_as_the_catalogue_is_now(name):
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == catalog.PAGES[name](), "run: python -m docs.catalog"


def test_every_norm_and_network_has_a_section_with_every_option():
    for page, entries in (("norms.md", norms()), ("networks.md", architectures())):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert re.findall(r"^## (\w+)$", text, flags=re.MULTILINE) == list(map(str, entries))
    assert text.count("| option | type | default | range |") == len(architectures())


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))])
def test_links_lead_to_files_that_are_there(page):
    folder, text = (ROOT / page).parent, (ROOT / page).read_text(encoding="utf-8")
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and "://" not in target]
    assert all((folder / target).exists() for target in local), local


def test_the_network_that_the_readme_declares_is_one():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (
        block for block in re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL) if "sequential" in block
    )
    spec = make_spec(**json.loads("{" + block + "}"))
    assert [site.name for site in sites(spec.blueprint())] == ["norm1", "residual3.norm1"]


@pytest.mark.parametrize(("page", "cells"), [("README.md", 18), ("docs/experiments.md", 27)])
def test_the_experiments_that_are_shown_are_some(page, cells):
    text = (ROOT / page).read_text(encoding="utf-8")
    (body,) = (found for found in re.findall(r"-d '(\{[^']*\})'", text) if '"axes"' in found)
    declaration = Declaration.model_validate_json(body)
    expansion = expand(declaration)
    assert expansion.declared - expansion.equal - expansion.excluded == cells
    assert declaration.target is not None


def test_the_search_that_is_shown_is_one():
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    (block,) = (found for found in re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL) if "optuna" in found)
    assert declared(axes={}, **json.loads("{" + block + "}")).search.trials == 20


RESULTS = ROOT / "docs" / "results" / "presets"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_page_with_its_report_and_a_picture(name):
    page = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    assert "TODO" not in page
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert found["scale"] == "quick"
    assert found["report"]["summary"]["name"] == name
    assert {cell["status"] for cell in found["cells"]} <= {"succeeded", "failed"}
    assert (RESULTS / f"{name}.png").exists()


def test_what_the_results_claim_is_in_the_numbers_that_they_keep():
    checked = subprocess.run(
        [sys.executable, "docs/results/presets.py", "check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = checked.stdout.splitlines()
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {line.split()[2].rstrip(":") for line in lines} >= set("ABCDFHIJKNO")


def rows(heading, page="jobs.md"):
    """The cells of the tables in a section of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_life_of_a_job_is_described_whole():
    assert [row[0] for row in rows("States")] == [f"`{status}`" for status in Status]
    moves = [f"`{status}` → `{target}`" for status, targets in TRANSITIONS.items() for target in targets]
    assert sorted(row[0] for row in rows("Transitions")) == sorted(moves)
    assert [row[0] for row in rows("The timeline")] == [f"`{type}`" for type in EventType]
    words = {True: "yes", False: "no"}
    failures = [[f"`{code}`", words[code not in REPEATS], words[is_retryable(code)]] for code in FailureCode]
    assert [[code, again, retryable] for code, _, again, retryable, _ in rows("Failures")] == failures


def test_cells_are_described_whole():
    named = [name for row in rows("Reading cells", "experiments.md") for name in re.findall(r"`(\w+)`", row[0])]
    assert named == [*CellOut.model_fields, *CellStatus]
