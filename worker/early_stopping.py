"""What the evaluations of a run say of it: whether the last one is the best, and whether to stop.

Plain numbers on the host; a resumed run goes on with the state of its checkpoint.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

#: Why a run stops early: its metric is good enough, or no longer improves.
StopReason = Literal["target", "patience"]


class Best:
    """The best value of one metric so far. NaN and infinities are never the best."""

    def __init__(self, metric: str, *, greater_is_better: bool, min_delta: float = 0.0) -> None:
        self._metric = metric
        self._sign = 1.0 if greater_is_better else -1.0
        self._min_delta = min_delta
        #: None before the first finite one.
        self.value: float | None = None

    def saw(self, metrics: Mapping[str, float]) -> bool:
        """Take in an evaluation; whether it is better than the best so far by more than `min_delta`."""
        value = metrics[self._metric]
        if not math.isfinite(value):
            return False
        if self.value is not None and not self._sign * (value - self.value) > self._min_delta:
            return False
        self.value = value
        return True

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.value = state["value"]


class EarlyStopping:
    """When to stop: at the target, or after `patience` evaluations in a row without an improvement.

    An improvement is one by more than `min_delta` over the best so far, so that slow progress adds up to one. The
    first finite value is one too. Goodfellow, Bengio & Courville 2016, Deep Learning, algorithm 7.1.
    """

    def __init__(
        self,
        metric: str,
        *,
        greater_is_better: bool,
        patience: int | None,
        min_delta: float = 0.0,
        target: float | None = None,
    ) -> None:
        self._metric = metric
        self._sign = 1.0 if greater_is_better else -1.0
        self._patience = patience
        self._target = target
        self._best = Best(metric, greater_is_better=greater_is_better, min_delta=min_delta)
        self._without_improvement = 0
        #: Whether the last evaluation was an improvement.
        self.improved = False
        #: Why to stop; None as long as there is no reason to.
        self.reason: StopReason | None = None

    def saw(self, metrics: Mapping[str, float]) -> None:
        """Take in an evaluation."""
        self.improved = self._best.saw(metrics)
        self._without_improvement = 0 if self.improved else self._without_improvement + 1
        if self._reached(metrics[self._metric]):
            self.reason = "target"
        elif self._patience is not None and self._without_improvement >= self._patience:
            self.reason = "patience"

    def told(self) -> dict[str, Any] | None:
        """For the timeline: why the run stops, and the best value that it has seen; None where it does not."""
        if self.reason is None:
            return None
        return {"reason": self.reason, "metric": self._metric, "best": self._best.value}

    def _reached(self, value: float) -> bool:
        # An infinity is no score, however far beyond the target.
        return self._target is not None and math.isfinite(value) and self._sign * (value - self._target) >= 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "best": self._best.state_dict(),
            "without_improvement": self._without_improvement,
            "improved": self.improved,
            "reason": self.reason,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._best.load_state_dict(state["best"])
        self._without_improvement = state["without_improvement"]
        self.improved = state["improved"]
        self.reason = state["reason"]


class Scores:
    """The scores by which a job selects among its checkpoints: a metric's value, the greater the better."""

    def __init__(self, metric: str, *, greater_is_better: bool) -> None:
        self._metric = metric
        self._sign = 1.0 if greater_is_better else -1.0
        self._best = Best(metric, greater_is_better=greater_is_better)
        #: Whether the last evaluation was the best so far.
        self.improved = False

    def saw(self, metrics: Mapping[str, float]) -> float | None:
        """Take in an evaluation; returns its score, none if that is not finite."""
        self.improved = self._best.saw(metrics)
        value = metrics[self._metric]
        return self._sign * value if math.isfinite(value) else None

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self._best.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._best.load_state_dict(state)
