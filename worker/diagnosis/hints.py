"""What a diagnosis adds to the advice of an error that ended a job."""

from db.status import FailureCode
from models.kinds.layers import Conv, Linear
from models.shapes import layers
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Diagnosis

#: Findings that explain why a loss is not finite any more, the most telling first.
TELLING = ("standardized_alone", "exploding_gradients", "variance_overflow")
#: Layers with weights from which on a network without norms is called deep.
DEEP = 5


def better_hint(evidence: Evidence, diagnosis: Diagnosis) -> str | None:
    """Advice with the job's own numbers; none where the error's own says as much."""
    if evidence.failure is None or evidence.failure.code is not FailureCode.DIVERGED:
        return None
    known = {finding.code: finding for finding in diagnosis.findings}
    telling = next((known[code] for code in TELLING if code in known), None)
    lr = evidence.spec.optimizer.lr
    kept = "The metrics up to that step are kept."
    if telling is not None:
        return f"{telling.explanation} {telling.advice} ({telling.reference}) {kept}"
    if evidence.spec.norm.name == "none" and (depth := _depth(evidence)) >= DEEP:
        return (
            f"The network has {depth} layers with weights and no norm between them, where values and gradients "
            f"multiply from layer to layer. Add a norm (norm: {{name: batch}}, or layer), or lower optimizer.lr "
            f"(it was {lr:g}; try {lr / 10:g}). {kept}"
        )
    return None


def _depth(evidence: Evidence) -> int:
    return sum(isinstance(step.layer, Linear | Conv) for step in layers(evidence.spec.blueprint()))
