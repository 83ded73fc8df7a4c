"""What a search came to so far."""

from collections.abc import Sequence

from api.report.evidence import Evidence, ended_median
from api.report.schemas import SearchOut
from db.experiments.records import Subject
from db.experiments.status import ENDED


def search_out(subject: Subject, arms: Sequence[Evidence]) -> SearchOut | None:
    """The best of its trials whose runs have all ended; None without a search."""
    search = subject.search
    if search is None:
        return None
    tried = [arm for arm in arms if arm.arm.trial is not None and all(run.status in ENDED for run in arm.runs)]
    medians = {arm.arm.number: ended_median(arm.runs, search.selection) for arm in tried}
    known = {number: median for number, median in medians.items() if median is not None}
    choose = max if search.selection.greater_is_better else min
    best = choose(known, key=known.__getitem__, default=None)
    return SearchOut(
        name=search.name,
        sampler=search.sampler,
        trials=search.trials,
        tried=len(tried),
        metric=search.selection.metric,
        best_arm=best,
        best_value=None if best is None else known[best],
    )
