"""Lints about the data that a job selects on."""

from db.spec.job import JobSpec
from db.spec.lints.base import SpecWarning
from db.spec.selection import stopping_metric


def selects_on_test(spec: JobSpec) -> SpecWarning | None:
    """Test data that say when to stop are no longer unseen."""
    watched = stopping_metric(spec)
    if watched is None or not watched.is_on_test:
        return None
    has_part = spec.dataset.validation_samples > 0
    way = "name a metric of validation/" if has_part else "hold a part out with dataset.validation_fraction"
    return SpecWarning(
        code="selects_on_test",
        pointer="/early_stopping/metric" if has_part else "/dataset/validation_fraction",
        message=f"Early stopping watches {watched.metric}: the test data choose when to stop, so that test "
        f"metrics will look better than they are on unseen data. To keep them apart, {way}.",
    )
