"""What one job may take: refused at submission rather than by the system's memory killer."""

from api.problems import FieldError, ProblemError
from db.memory import training_memory
from db.spec.job import JobSpec
from models.catalog.registry import norms

GIB = 1 << 30


def check_memory(spec: JobSpec, limit: int) -> None:
    """Refuse a job that would hold more than `limit` bytes.

    Raises:
        ProblemError: it would.
    """
    wrong = too_large(spec, limit)
    if wrong is not None:
        detail = f"{wrong.pointer}: {wrong.message}"
        raise ProblemError(422, wrong.code, "The network is too large", detail, errors=[wrong])


def too_large(spec: JobSpec, limit: int) -> FieldError | None:
    """Why a job is too large for the limit, and what would fit; None if it is not."""
    memory = training_memory(spec)
    if memory.total <= limit:
        return None
    # A norm of batch statistics needs two samples where a sample has one value of each channel.
    least, most = norms()[spec.norm.name].values_per_channel, memory.largest_batch(limit)
    fits = most >= least
    way = f"a batch of at most {most} fits; accumulate makes larger steps" if fits else "take a smaller network"
    return FieldError(
        pointer="/batch_size" if fits else "/architecture",
        code="network_too_large",
        message=f"Training would hold about {memory.total / GIB:.3g} GiB, and a job may {limit / GIB:.3g} GiB "
        f"(NORMLAB_MEMORY_LIMIT_BYTES): {way}.",
        allowed=f"{least} to {most}" if fits else None,
    )
