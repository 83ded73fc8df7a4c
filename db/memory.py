"""What a job holds in memory, by its spec."""

from db.spec.job import JobSpec
from db.spec.optimizer import AdamW
from models.memory import Memory, estimate


def training_memory(spec: JobSpec) -> Memory:
    """The estimate of what training holds."""
    return estimate(
        spec.blueprint(),
        batch_size=spec.batch_size,
        optimizer_copies=_optimizer_copies(spec),
        evaluated=_evaluated(spec),
        probe_copies=max((probe.copies for probe in spec.probes), default=0),
        averaged=spec.ema is not None,
    )


def _evaluated(spec: JobSpec) -> int:
    """Samples of the test or validation data, or of the training subset of the modes, whichever has most."""
    data = spec.dataset
    subset = min(max(spec.evaluate.train_samples, spec.batch_size), data.train_samples)
    return max(data.test_samples, data.validation_samples, subset)


def _optimizer_copies(spec: JobSpec) -> int:
    """Numbers that the optimizer keeps for each parameter."""
    if isinstance(spec.optimizer, AdamW):
        return 2
    return 1 if getattr(spec.optimizer, "momentum", 0) else 0
