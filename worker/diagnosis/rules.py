"""Everything that a diagnosis looks at."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from db.spec.warnings import RULES as LINTS
from worker.diagnosis import (
    activations,
    averages,
    batches,
    generalization,
    gradients,
    lints,
    modes,
    statistics,
)
from worker.diagnosis.evidence import Evidence
from worker.diagnosis.findings import Check, CheckStatus, Finding, NotChecked

log = logging.getLogger(__name__)

#: Why there is nothing of a rule that broke.
FAILED = "The check itself failed; the log of the process says why."


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One check: what it looks at in words, the codes of what it may find, and the function that looks.

    The function raises `NotChecked` where it lacks its numbers. `of_spec` says that it needs none that a job
    records.
    """

    check: str
    codes: tuple[str, ...]
    function: Callable[[Evidence], Iterable[Finding]]
    of_spec: bool = False

    def apply(self, evidence: Evidence) -> tuple[list[Finding], Check]:
        """What it finds, and what became of it."""
        reason, found = None, []
        try:
            found = list(self.function(evidence))
            status = CheckStatus.FOUND if found else CheckStatus.PASSED
        except NotChecked as lack:
            status, reason = CheckStatus.NOT_CHECKED, str(lack)
        except Exception:  # one broken rule must not take the others with it
            log.exception("The check that %s failed.", self.check)
            status, reason = CheckStatus.NOT_CHECKED, FAILED
        check = Check(check=self.check, codes=self.codes, status=status, reason=reason, of_spec=self.of_spec)
        return found, check


RULES: tuple[Rule, ...] = (
    Rule(
        check="train mode and eval mode score the same on the training subset",
        codes=("stale_statistics", "batch_dependence", "batch_noise", "mode_gap"),
        function=modes.mode_gap,
    ),
    Rule(
        check="precise statistics would gain nothing",
        codes=("precise_gap",),
        function=modes.precise_gap,
    ),
    Rule(
        check="test data scores as training data",
        codes=("generalization_gap",),
        function=generalization.generalization_gap,
    ),
    Rule(
        check="norms see the same features on test data as on training data",
        codes=("test_shift",),
        function=generalization.shifted_test_data,
    ),
    Rule(
        check="running averages are the population's statistics",
        codes=("statistics_drift",),
        function=statistics.statistics_drift,
    ),
    Rule(
        check="running averages have left their initial values behind",
        codes=("init_residue",),
        function=averages.init_residue,
    ),
    Rule(
        check="frozen statistics are those of the batches",
        codes=("frozen_shift",),
        function=statistics.frozen_shift,
    ),
    Rule(
        check="running variances are finite and of the population's size",
        codes=("variance_overflow",),
        function=statistics.variance_overflow,
    ),
    Rule(
        check="channels vary by more than eps",
        codes=("constant_channel",),
        function=statistics.constant_channel,
    ),
    Rule(
        check="averaged weights go with their statistics",
        codes=("ema_statistics",),
        function=averages.ema_statistics,
    ),
    Rule(
        check="batches are large enough for their statistics",
        codes=("statistic_noise",),
        function=batches.statistic_noise,
    ),
    Rule(
        check="batches are random samples of the data",
        codes=("non_iid_batches",),
        function=batches.non_iid_batches,
    ),
    Rule(check="ReLU units are alive", codes=("dead_units",), function=activations.dead_units),
    Rule(
        check="sigmoids and tanhs are not saturated",
        codes=("saturated_units",),
        function=activations.saturated_units,
    ),
    Rule(
        check="scales of norms are finite and not negligible",
        codes=("scale_not_finite", "scale_near_zero"),
        function=activations.scales,
    ),
    Rule(
        check="gradients are of like size in all layers, and steps shorter than the weights",
        codes=("exploding_gradients", "vanishing_gradients"),
        function=gradients.sizes_of_gradients,
    ),
    Rule(check="the spec has no known pitfall", codes=tuple(LINTS), function=lints.spec_lints, of_spec=True),
)

#: Every code that a finding may have.
CODES: tuple[str, ...] = tuple(code for rule in RULES for code in rule.codes)
