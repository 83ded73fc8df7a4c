"""Lints about the batch that norms see."""

from db.spec.job import JobSpec
from db.spec.lints.base import Severity, SpecWarning
from models.catalog.names import NormName
from models.catalog.registry import norms
from models.shapes import sites


def sync_in_one_process(spec: JobSpec) -> SpecWarning | None:
    """Synchronized batch norm has nothing to synchronize with."""
    if spec.norm.name != NormName.SYNC_BATCH:
        return None
    return SpecWarning(
        code="sync_in_one_process",
        pointer="/norm/name",
        message="A job runs in one process, in which norm 'sync_batch' is plain 'batch'.",
        severity=Severity.INFO,
    )


def _normalizes_by_batch(spec: JobSpec) -> bool:
    # noisy_batch may add its noise to what nothing has normalized.
    return norms()[spec.norm.name].uses_batch and getattr(spec.norm, "normalize", True)


def two_values_per_channel(spec: JobSpec) -> SpecWarning | None:
    """Of two values of a channel, batch statistics leave nothing but which is the larger."""
    info = norms()[spec.norm.name]
    # Without centring, as in some lp_batch, the size of the values survives.
    if not (_normalizes_by_batch(spec) and info.absorbs_bias and getattr(spec.norm, "centered", True)):
        return None
    size = getattr(spec.norm, "size", spec.batch_size)
    pointer = "/norm/size" if size < spec.batch_size else "/batch_size"
    smallest = spec.batch_size % size or min(size, spec.batch_size)
    for site in sites(spec.blueprint()):
        if smallest * site.positions == 2:
            return SpecWarning(
                code="two_values_per_channel",
                pointer=pointer,
                message=f"At site {site.name} each channel has two values to normalize, which become +1 and -1 "
                "whatever they were. Take more samples, or a norm that does not use the batch.",
            )
    return None


def accumulated_batches(spec: JobSpec) -> SpecWarning | None:
    """Accumulation makes the batch of the gradient larger, not that of the norm."""
    count = getattr(spec.optimizer, "accumulate", 1)
    if count <= 1 or not _normalizes_by_batch(spec):
        return None
    return SpecWarning(
        code="accumulated_batches",
        pointer="/optimizer/accumulate",
        message=f"Each of the {count} batches of a step is normalized by itself, with {spec.batch_size} samples, "
        "and moves the running averages once: gradients are those of a larger batch, statistics are not.",
    )


def single_sample_batch(spec: JobSpec) -> SpecWarning | None:
    """A last batch of one sample, which batch statistics could not take, is merged into the one before it."""
    samples = spec.dataset.train_samples
    if samples % spec.batch_size != 1 or spec.batch_size == 1 or not norms()[spec.norm.name].uses_batch:
        return None
    return SpecWarning(
        code="single_sample_batch",
        pointer="/batch_size",
        message=f"{samples} samples leave a last batch of one, which has no variance: it joins the batch before "
        f"it, so that the last batch of each epoch has {spec.batch_size + 1} samples.",
        severity=Severity.INFO,
    )
