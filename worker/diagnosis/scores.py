"""Accuracy or r2 of a job, and when one is below another by more than chance."""

from math import sqrt

from worker.diagnosis.evidence import Evidence

#: A gap between two scores counts above this, and above two standard deviations of the difference of two
#: accuracies, each measured on so many samples: 2 * sqrt(2 p (1 - p) / n). For r2 it counts above this alone.
GAP, DEVIATIONS = 0.02, 2.0


def score(evidence: Evidence, part: str) -> float:
    """Accuracy, or r2 of a regression.

    Raises:
        NotChecked: it has not been measured.
    """
    return evidence.metric(f"{part}/{'r2' if is_regression(evidence) else 'accuracy'}")


def is_regression(evidence: Evidence) -> bool:
    """Whether the job predicts numbers."""
    return evidence.spec.dataset.info.task == "regression"


def is_below(
    evidence: Evidence,
    low: float,
    high: float,
    samples: int,
    *,
    least: float = GAP,
    deviations: float = DEVIATIONS,
) -> bool:
    """Whether one score is below another by more than chance makes it."""
    if is_regression(evidence):
        return high - low > least
    p = min(1.0, max(0.0, (low + high) / 2))
    return high - low > max(least, deviations * sqrt(2 * p * (1 - p) / samples))
