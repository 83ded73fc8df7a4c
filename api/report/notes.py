"""How to read the numbers of a report: what is in them, and what is not."""

from collections import Counter
from collections.abc import Sequence

from api.report.schemas import ArmOut
from db.experiments.records import Subject

#: Below this a percentile interval of a median is hardly more than the range of the runs.
FEW_SEEDS = 5


def notes(subject: Subject, arms: Sequence[ArmOut]) -> list[str]:
    """Sentences, those that always hold first."""
    return [
        *_seeds(subject),
        "Final and best values are over the runs that succeeded. Runs that diverged are not in them, and are "
        "counted on their own.",
        *_target(subject, arms),
        *_selection(subject),
        *_search(subject),
        "Train/eval gap: batch statistics less running statistics, on the same training samples at the end of a "
        "run. Precise gap: population statistics measured anew less running statistics, on the same samples. A "
        "norm that does not use the batch has neither.",
        *_probes(subject),
        *_origin(subject),
    ]


def _seeds(subject: Subject) -> list[str]:
    runs = Counter(run.arm for run in subject.runs)
    fewest, most = min(runs.values(), default=0), max(runs.values(), default=0)
    seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
    told = f"Each arm has {seeds} seed{'' if most == 1 else 's'}; numbers are medians over those that have them."
    if most <= 1:
        return [told, "One run has no spread and no interval: a difference may be chance."]
    few = " Of so few seeds they are narrower than they claim." if fewest < FEW_SEEDS else ""
    return [told, "Brackets are 95 % intervals of the median: percentile bootstrap over seeds." + few]


def _target(subject: Subject, arms: Sequence[ArmOut]) -> list[str]:
    target = subject.target
    if target is None:
        return ["No target was declared: there are no steps to it, and no speed-ups."]
    sign = "≥" if target.greater_is_better else "≤"
    censored = sum(arm.steps_to_target.censored for arm in arms if arm.steps_to_target)
    at_first = sum(arm.steps_to_target.at_first for arm in arms if arm.steps_to_target)
    return [
        f"Steps to the target: until the first evaluation with {target.metric} {sign} {target.value:.4g}. Runs "
        f"that did not get there ({censored} here) are censored at their last step, diverged ones at their full "
        "length. The median is Kaplan and Meier's: the step by which half of the seeds got there.",
        "Speed-up: the baseline's median steps to the target, divided by the arm's. At equal learning rate both "
        "have the same one. At the best, each side has the one of those tried that takes the fewest steps, and "
        "the interval takes this choice as given. ≥ and ≤ stand where one side did not reach the target, or was "
        "there at its first evaluation.",
        *_at_first(at_first),
    ]


def _at_first(count: int) -> list[str]:
    if not count:
        return []
    runs = "1 run was there at its" if count == 1 else f"{count} runs were there at their"
    return [
        f"Steps to the target are no finer than the evaluations: {runs} first one, and may have been there at any "
        "step before. Where a median rests on that it is an upper bound, and a speed-up a bound. Evaluate more "
        "often (`evaluate.every`) to know more."
    ]


def _selection(subject: Subject) -> list[str]:
    metric = subject.selection.metric
    if not subject.selection.is_on_test:
        return [f"The best is selected by {metric}."]
    return [
        f"The best is selected by {metric}, which is test data: what is selected looks better than it is on new "
        "data. Give the data set a validation_fraction to select on a part of its own."
    ]


def _search(subject: Subject) -> list[str]:
    if subject.search is None:
        return []
    return [
        f"The arms are trials of a search for the best {subject.search.selection.metric}. The best of many trials "
        "on the same data looks better than it is, the more so the more trials there are."
    ]


def _probes(subject: Subject) -> list[str]:
    names = sorted({probe["name"] for arm in subject.arms for probe in arm.resolved.get("probes", ())})
    if not names:
        return []
    read = ", ".join(f"`GET /v1/jobs/{{id}}/probes/{name}`" for name in names)
    return [
        f"What the probes measured is not in this report: read it with {read}. The jobs are those of the cells, "
        f"`GET /v1/experiments/{subject.id}/cells`."
    ]


def _origin(subject: Subject) -> list[str]:
    total, reused, ended = subject.progress.total, subject.progress.reused, subject.progress.ended
    found = [f"{reused} of {total} cells are reused: their jobs were not made for this experiment."]
    live = [f"{ended} of {total} cells have ended: numbers will still change."]
    return (found if reused else []) + (live if ended < total else [])
