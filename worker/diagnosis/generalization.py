"""Rules about test data against training data."""

from collections.abc import Iterable
from math import sqrt

import numpy as np

from db.spec.lints.base import Severity
from worker.diagnosis.channels import varying
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Finding, NotChecked
from worker.diagnosis.modes import gaps_if_any
from worker.diagnosis.scores import is_below, score
from worker.diagnosis.words import at, number

#: A gap between training and test data that is more than a note.
LARGE_GENERALIZATION_GAP = 0.1
#: Shift of a norm's input on test data, in standard deviations, as a mean over channels.
SHIFT, LARGE_SHIFT = 0.2, 0.5


def generalization_gap(evidence: Evidence) -> Iterable[Finding]:
    """Good on training data in every mode, worse on test data."""
    train, test = score(evidence, "gap/eval_mode"), score(evidence, "test")
    if any(finding.code != "batch_noise" for finding in gaps_if_any(evidence)):
        raise NotChecked("Eval mode is at fault on the training data already.")
    # Two samples of different sizes have the deviation of two of their harmonic mean.
    samples = round(2 / (1 / evidence.gap_samples + 1 / evidence.test_samples))
    if not is_below(evidence, test, train, samples):
        return
    yield Finding(
        code="generalization_gap",
        severity=Severity.WARN if train - test > LARGE_GENERALIZATION_GAP else Severity.INFO,
        evidence={"gap": train - test, "train": train, "test": test},
        explanation=f"Eval mode is as good as it should be on training data ({number(train)}) and worse on "
        f"test data ({number(test)}): the network has fitted what the test data does not share, or the test "
        "data is other data. Normalization is not at fault where test_shift is silent.",
        advice="More training data, optimizer.weight_decay, or a smaller network; for other data see test_shift.",
    )


def shifted_test_data(evidence: Evidence) -> Iterable[Finding]:
    """Test data whose features are elsewhere than those of the training data."""
    chance = sqrt(1 / evidence.gap_samples + 1 / evidence.test_samples)
    shifts = {
        site.name: float(np.abs(shift).mean())
        for site, values in evidence.evaluated("test.delta")
        if (shift := varying(evidence, site, values)) is not None
    }
    if not shifts:
        raise NotChecked("No evaluation has compared the norms' inputs on test and training data yet.")
    limit = max(SHIFT, 3 * chance)
    names = tuple(name for name, value in shifts.items() if value > limit)
    if not names:
        return
    worst = max(names, key=shifts.__getitem__)
    yield Finding(
        code="test_shift",
        severity=Severity.BAD if shifts[worst] > LARGE_SHIFT else Severity.WARN,
        sites=names,
        evidence={"delta": shifts[worst], "limit": limit},
        explanation=f"At {at(names)} the inputs of the norm have other means on test data than on training data: "
        f"at {worst} by {number(shifts[worst])} standard deviations, as a mean over channels. Statistics of "
        "the training data do not suit the test data.",
        advice='POST /v1/jobs/{id}/recalibrate with {"data": {"source": "test"}} adapts the statistics to the '
        "unlabelled test inputs (AdaBN); test metrics are then no longer those of unseen data. Better still, "
        "train on data like them.",
    )
