"""What is taken but may not be what was meant: warnings about a valid spec, free of torch."""

from collections.abc import Callable, Mapping

from db.spec.job import JobSpec
from db.spec.lints import averages, batches, layers, selection, weights
from db.spec.lints.base import SpecWarning

Lint = Callable[[JobSpec], SpecWarning | None]

#: The rule behind each code.
RULES: Mapping[str, Lint] = {
    rule.__name__: rule
    for rule in (
        batches.sync_in_one_process,
        batches.two_values_per_channel,
        batches.accumulated_batches,
        batches.single_sample_batch,
        averages.frozen_from_scratch,
        averages.frozen_too_late,
        averages.short_averages,
        averages.short_ema,
        layers.bias_before_norm,
        layers.dropout_before_norm,
        weights.decay_of_norms,
        weights.standardized_alone,
        selection.selects_on_test,
    )
}


def warnings(spec: JobSpec) -> list[SpecWarning]:
    """All warnings about a spec."""
    return [found for rule in RULES.values() if (found := rule(spec)) is not None]
