"""What an experiment ran on, and what its preset promises, in a few words at the top of the page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from api.report.schemas import Report
from db.experiments.naming import name_of, text_of
from db.experiments.records import Arm

#: Values that are listed; of more only how many there are, or the first and the last.
LISTED = 6
#: Keys of a preset's summary that are not about what was found: sentences of their own have them.
TOLD_APART = ("name", "scale", "expected_scale")
#: Fields of a network that its name stands for well enough.
MINOR = ("init", "activation", "dropout")


def ran(arms: Sequence[Arm], seeds: Sequence[int]) -> list[str]:
    """Data, network, norm, length, batches and seeds, as far as a few values tell them; empty without arms."""
    specs = [arm.resolved for arm in arms]
    if not specs:
        return []
    facts = [
        f"data {_words(_data(spec['dataset']) for spec in specs)}",
        f"network {_words(_network(spec['architecture']) for spec in specs)}",
        f"norm {_words(spec['norm']['name'] for spec in specs)}",
        *_numbers(specs, "steps", "{} steps"),
        *_numbers(specs, "epochs", "{} epochs"),
        *_numbers(specs, "batch_size", "batches of {}"),
    ]
    return [*facts, f"seed{'s' if seeds[1:] else ''} {_range(seeds, str)}"] if seeds else facts


def scale_warning(report: Report, arms: Sequence[Arm]) -> str:
    """That what a preset expects is of another scale than this ran at; empty where it is not."""
    summary = report.summary or {}
    here, expected = summary.get("scale"), summary.get("expected_scale")
    if here is None or here == expected:
        return ""
    data = _words(_data(arm.resolved["dataset"]) for arm in arms)
    steps = "".join(f", {text}" for text in _numbers([arm.resolved for arm in arms], "steps", "{} steps"))
    return (
        f"This ran at the scale `{here}`: {data}{steps}. What is expected is of the scale `{expected}`, on "
        "other data or of other lengths, and is not comparable with the numbers here."
    )


def told(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a preset says of itself."""
    return {name: value for name, value in summary.items() if value and name not in TOLD_APART}


def shown_name(arm: Arm) -> str:
    """Its name; a trial's begins with its number, which lets long values be rounded without a mix-up."""
    if arm.trial is None:
        return arm.name
    short = {path: _short(value) for path, value in arm.coordinates.items()}
    return f"trial {arm.trial}: {name_of(short)}"


def _short(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _data(dataset: Mapping[str, Any]) -> str:
    limit = dataset.get("train_limit")
    return f"{dataset['name']} ({limit:,} for training)" if limit else str(dataset["name"])


def _network(architecture: Mapping[str, Any]) -> str:
    return text_of({key: value for key, value in architecture.items() if key not in MINOR})


def _numbers(specs: Sequence[Mapping[str, Any]], field: str, phrase: str) -> list[str]:
    """The phrase with the numbers of a field; nothing where no spec has one."""
    found = {spec[field] for spec in specs if spec.get(field) is not None}
    return [phrase.format(_range(sorted(found), lambda number: f"{number:,}"))] if found else []


def _words(texts: Iterable[str]) -> str:
    """Each once, in their order."""
    each = list(dict.fromkeys(texts))
    return _listed(each if len(each) <= LISTED else [*each[:LISTED], f"{len(each) - LISTED} more"])


def _range(numbers: Sequence[int], show: Callable[[int], str]) -> str:
    """Numbers in ascending order, as a list or by their ends."""
    if len(numbers) <= LISTED:
        return _listed([show(number) for number in numbers])
    return f"{show(numbers[0])} to {show(numbers[-1])} ({len(numbers)} of them)"


def _listed(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)
