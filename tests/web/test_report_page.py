"""The page of a report, in a real browser."""

import re
from pathlib import Path

import pytest

from api.report import report, to_html
from db.experiments.records import Searching
from db.experiments.status import CellStatus, ExperimentStatus
from db.spec.selection import selection_of
from tests.api.report.support import BATCH, METRIC, NONE, make_arm, make_run, make_subject, sweep
from tests.conftest import missing

CHROMIUM = Path("/usr/bin/chromium")
#: What a name may be.
HOSTILE = "</script><script>throw 1</script><img src='http://outside.example/x.png' onerror='throw 2'>&<b>"
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 0.2, 0.5, 2.0, 5.0)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        missing("the report's page: there is no chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])


class Visit:
    """A page in the browser, and what it asked for and complained of."""

    def __init__(self, browser, file, width, scheme="light"):
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("body[data-drawn=all]", state="attached")

    def count(self, selector):
        return self.page.locator(selector).count()


@pytest.fixture(scope="module")
def wide_and_narrow(browser, tmp_path_factory):
    """The same page of 60 arms at both widths."""
    subject = sweep(RATES, name=HOSTILE, summary={"source": "a paper", "expect": ["this", "that"]})
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(to_html(report(subject), subject), encoding="utf-8")
    return [Visit(browser, file, 1280), Visit(browser, file, 400, "dark")]


def test_nothing_goes_wrong_and_nothing_is_asked_of_others(wide_and_narrow):
    for visit in wide_and_narrow:
        assert visit.said == []
        assert [url.partition(":")[0] for url in visit.asked] == ["file"]


def test_all_figures_are_drawn(wide_and_narrow):
    for visit in wide_and_narrow:
        assert visit.count("#plot-curves .scatterlayer .trace") == 2 * 13 + 1, (
            "12 lines and a baseline, each with a band, and the target"
        )
        assert visit.count("#plot-curves .legend .traces") == 60
        assert visit.count("#plot-final .scatterlayer .trace") > 60
        assert visit.count("#plot-rates .scatterlayer .trace") == 10, "5 families, each with diverged runs"
        assert visit.count("#plot-gap .scatterlayer .trace") == 48, "dots and medians of batch norms"


@pytest.mark.parametrize("selector", ["document.documentElement", "document.body"])
def test_the_page_is_no_wider_than_the_screen(wide_and_narrow, selector):
    for visit, width in zip(wide_and_narrow, (1280, 400), strict=True):
        assert visit.page.evaluate(f"{selector}.scrollWidth") <= width
        right = visit.page.evaluate(
            "Math.max(...[...document.querySelectorAll('.plot svg')].map(e => e.getBoundingClientRect().right))"
        )
        assert right <= width


def test_every_arm_has_a_row(wide_and_narrow):
    wide, _ = wide_and_narrow
    assert wide.count("tbody tr") == 60
    assert wide.count("tbody tr.baseline") == 12
    assert wide.page.locator("h1").inner_text() == HOSTILE


@pytest.fixture(scope="module")
def ordinary(browser, tmp_path_factory):
    """A page of 10 arms with a baseline and a target at both widths."""
    subject = sweep((0.1, 1.0))
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(to_html(report(subject), subject), encoding="utf-8")
    return [Visit(browser, file, 1280), Visit(browser, file, 400)]


def test_the_table_of_an_ordinary_experiment_needs_no_scrolling(ordinary):
    wide, _ = ordinary
    assert wide.page.locator(".wide").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    heights = wide.page.evaluate("[...document.querySelectorAll('tbody tr')].map(e => e.offsetHeight)")
    assert max(heights) < 100


def test_a_narrow_screen_shows_a_number_beside_the_name(ordinary):
    _, narrow = ordinary
    box = narrow.page.locator("tbody tr:last-child td").first.bounding_box()
    assert box["x"] + box["width"] <= 400 * 2 / 3


def test_a_narrow_legend_shows_every_arm_below_the_plot(ordinary):
    _, narrow = ordinary
    assert narrow.count("#plot-curves .legend .traces") == 10
    legend = narrow.page.locator("#plot-curves .legend .bg").bounding_box()
    entries = narrow.page.locator("#plot-curves .legend .traces").all()
    assert all(entry.bounding_box()["y"] < legend["y"] + legend["height"] for entry in entries), (
        "none scrolled away"
    )
    axis = narrow.page.locator("#plot-curves .xtitle").bounding_box()
    assert axis["y"] + axis["height"] <= legend["y"] + 1


def test_the_legend_switches_an_arm_on(wide_and_narrow):
    wide, _ = wide_and_narrow
    before = wide.count("#plot-curves .scatterlayer .trace")
    # The first arm is a baseline of a small learning rate, which is not among the best.
    wide.page.locator("#plot-curves .legend .legendtoggle").first.click()
    wide.page.locator("#plot-curves .scatterlayer .trace").nth(before + 1).wait_for(state="attached")


def test_no_row_is_hidden_and_a_shadow_says_that_there_is_more(wide_and_narrow):
    boxes = [visit.page.locator(".wide") for visit in wide_and_narrow]
    for box in boxes:
        # But for the bar to scroll with.
        assert box.evaluate("e => e.scrollHeight - e.clientHeight") <= 1
        assert "gradient" in box.evaluate("e => getComputedStyle(e).backgroundImage")
    assert boxes[1].evaluate("e => e.scrollWidth > e.clientWidth")


def test_a_printed_table_needs_no_scrolling(wide_and_narrow):
    page = wide_and_narrow[0].page
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1040, "height": 720})
    try:
        assert page.locator(".wide").evaluate("e => getComputedStyle(e).overflowX") == "visible"
        assert page.evaluate("document.querySelector('table').getBoundingClientRect().right") <= 1040
    finally:
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": 1280, "height": 900})


def test_colours_are_those_of_the_scheme(wide_and_narrow):
    inks = [
        v.page.locator("#plot-final .xtitle").evaluate("e => getComputedStyle(e).fill") for v in wide_and_narrow
    ]
    assert inks == ["rgb(28, 33, 38)", "rgb(228, 232, 236)"]


def test_names_are_shown_as_they_are_written(browser, tmp_path):
    arms = [
        make_arm(0, {"norm": NONE}, True, name="<b>bold</b> &amp; plain"),
        make_arm(1, {"norm": BATCH}, name=HOSTILE),
    ]
    subject = make_subject(arms, [make_run(n, seed, 300) for n in range(2) for seed in range(2)])
    file = tmp_path / "report.html"
    file.write_text(to_html(report(subject), subject), encoding="utf-8")
    visit = Visit(browser, file, 1280)
    assert (visit.said, visit.count("img")) == ([], 0)
    assert "<b>bold</b> &amp; plain" in visit.page.locator("#plot-curves .legend").text_content()
    assert "<b>bold</b> &amp; plain" in visit.page.locator("tbody").inner_text()


def test_a_live_experiment_shows_its_progress():
    runs = [
        make_run(0, 0, status=CellStatus.RUNNING, step=500),
        make_run(0, 1, status=CellStatus.WAITING, step=0, latest={}),
    ]
    progress = {"status": ExperimentStatus.RUNNING, "share": 0.25, "eta_seconds": 3700.0}
    subject = make_subject([make_arm(0, {})], runs, progress=progress)
    page = to_html(report(subject), subject)
    assert "25.0 % of all steps" in page
    assert "About 1 h 1 min left" in page


def test_the_page_says_where_it_comes_from():
    subject = make_subject([make_arm(0, {})], [make_run(0, 3, seconds=90.0), make_run(0, 5)])
    page = to_html(report(subject), subject)
    assert re.search(r"made <time[^>]*>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</time>", page)
    assert "seeds 3 and 5" in page
    assert "the run that has ended took 1 min 30 s" in page
    assert 'href="/v1/experiments/exp_1/report?format=csv"' in page
    assert '5: <a href="/v1/jobs/job_0_5"><code>job_0_5</code></a>' in page


def test_words_are_said_once_and_code_is_code():
    summary = {"name": "a-preset", "expected": "`full` <takes> hours"}
    arms = [make_arm(0, {"norm": NONE}, is_baseline=True), make_arm(1, {"norm": BATCH})]
    subject = make_subject(arms, [make_run(0, 0), make_run(1, 0)], summary=summary)
    page = to_html(report(subject), subject)
    assert "<code>full</code> &lt;takes&gt; hours" in page
    assert "a-preset" not in page
    assert 'title="this is the baseline">–</td>' in page


def test_the_page_says_on_what_it_ran():
    arms = [make_arm(n, {"norm": norm, "batch_size": 8 * (n + 1)}) for n, norm in enumerate((NONE, BATCH))]
    subject = make_subject(arms, [make_run(n, 0) for n in range(2)])
    page = re.sub("<[^>]+>", "", to_html(report(subject), subject))
    for fact in ("data digits", "network mlp (hidden [", "norm none and batch", "batches of 8 and 16", "seed 0"):
        assert fact in page, fact


@pytest.mark.parametrize(("scale", "is_warned"), [("smoke", True), ("full", True), ("quick", False)])
def test_a_preset_at_another_scale_than_its_expectation_says_so(scale, is_warned):
    summary = {"expected": "MNIST in 700 steps", "scale": scale, "expected_scale": "quick"}
    subject = make_subject([make_arm(0, {})], [make_run(0, 0)], summary=summary)
    page = to_html(report(subject), subject)
    assert (f"This ran at the scale <code>{scale}</code>: digits" in page) is is_warned
    assert "<dt>expected</dt>" in page
    assert "<dt>scale</dt>" not in page


def test_the_page_of_a_search_names_the_best_trial():
    arms = [make_arm(n, {"optimizer.lr": 0.123456 * (n + 1)}, trial=n) for n in range(2)]
    search = Searching(name="optuna", sampler="TPESampler", trials=8, selection=selection_of(METRIC))
    runs = [make_run(0, 0, final=0.7), make_run(1, 0, final=0.8)]
    subject = make_subject(arms, runs, target=None, search=search)
    page = " ".join(to_html(report(subject), subject).split())
    assert "TPESampler of optuna chooses the settings of 8 trials, of which 2 have ended" in page
    assert f"The best so far is <strong>trial 1: lr 0.247</strong>, with {METRIC} 0.800." in page
    assert page.index('<th scope="row">trial 1') < page.index('<th scope="row">trial 0')


def test_an_experiment_without_runs_has_a_page_without_plots():
    subject = make_subject([make_arm(0, {})], [])
    page = to_html(report(subject), subject)
    assert "nothing to plot yet" in page
    assert len(page) < 100_000, "no need of Plotly"
