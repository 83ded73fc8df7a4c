"""How long a job may take, from what it computes."""

from db.spec.job import JobSpec
from db.spec.probes import CovariateShift, Geometry, Landscape, Probe
from models.shapes import layers

#: Multiplications and additions of a second, on one core as the service was measured on; and what a step takes
#: however small its network, and a job however short, in seconds.
OPERATIONS_PER_SECOND = 2.5e10
STEP_SECONDS = 1.2e-3
JOB_SECONDS = 0.5
#: Of a forward pass: with a backward pass it takes three.
PASS = 3


def seconds(spec: JobSpec) -> float:
    """An estimate for a small CPU, good to a factor of about 2: steps, evaluations and probes."""
    steps = spec.total_steps()
    made = spec.batch_size * spec.optimizer.accumulate * PASS * steps
    every = spec.evaluate.every or max(1, steps // 10)
    made += _evaluated(spec) * -(-steps // every)
    made += sum(_probed(spec, probe) * -(-steps // probe.every) for probe in spec.probes)
    operations = sum(step.operations for step in layers(spec.blueprint()))
    return JOB_SECONDS + steps * STEP_SECONDS + made * operations / OPERATIONS_PER_SECOND


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
