"""How long a job may take, from what it computes."""

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.spec.job import JobSpec
from db.spec.probes import CovariateShift, Geometry, Landscape, Probe
from db.status import Status
from db.tables import Job
from models.shapes import layers

#: Multiplications and additions of a second, on one core as the service was measured on; and what a step takes
#: however small its network, and a job however short, in seconds.
OPERATIONS_PER_SECOND = 2.5e10
STEP_SECONDS = 1.2e-3
JOB_SECONDS = 0.5
#: Of a forward pass: with a backward pass it takes three.
PASS = 3
#: Ended jobs that the speed of the machine is taken from.
RECENT = 20


def seconds(spec: JobSpec) -> float:
    """An estimate for a small CPU, good to a factor of about 2: steps, evaluations and probes."""
    steps = spec.total_steps()
    made = spec.batch_size * spec.optimizer.accumulate * PASS * steps
    every = spec.evaluate.every or max(1, steps // 10)
    made += _evaluated(spec) * -(-steps // every)
    made += sum(_probed(spec, probe) * -(-steps // probe.every) for probe in spec.probes)
    operations = sum(step.operations for step in layers(spec.blueprint()))
    return JOB_SECONDS + steps * STEP_SECONDS + made * operations / OPERATIONS_PER_SECOND


def slowness(session: Session) -> float:
    """How much longer than estimated the newest jobs took here; 1 where none has ended."""
    query = select(Job).where(Job.status == Status.SUCCEEDED, Job.spent_seconds > 0).order_by(Job.id.desc())
    taken, expected = 0.0, 0.0
    for job in session.scalars(query.limit(RECENT)):
        try:
            estimate = seconds(JobSpec.model_validate(job.resolved))
        except ValidationError:  # of an older version
            continue
        taken, expected = taken + job.spent_seconds, expected + estimate
    return taken / expected if expected else 1.0


def _evaluated(spec: JobSpec) -> int:
    """Samples of one evaluation."""
    subset, test = spec.evaluate.train_samples, spec.dataset.test_samples
    # Train mode is measured at two batch sizes; of mode precise there is an estimate and two measurements.
    of_mode = {"eval": subset, "train": 2 * subset, "precise": 2 * subset + test}
    passes = test + spec.dataset.validation_samples + sum(of_mode[mode] for mode in spec.evaluate.modes)
    return passes * (2 if spec.ema is not None else 1)


def _probed(spec: JobSpec, probe: Probe) -> int:
    """Samples that go forward in one measurement."""
    match probe:
        case Landscape():
            return (probe.points + 1) * PASS * spec.batch_size
        case CovariateShift():
            return 2 * PASS * spec.batch_size
        case Geometry():
            return probe.batches * spec.batch_size + probe.samples
