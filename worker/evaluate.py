"""How good the network is in eval mode, and how that differs from train mode."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.norms.batch import BatchNorm
from worker import precise
from worker.data.batches import Data

#: Samples of one forward pass where the batch size has no influence on the result.
EVAL_BATCH = 1000
#: Batch size of `gap/train_mode_large`: large enough that the noise of batch statistics is small.
LARGE_BATCH = 500


class Evaluator:
    """Test metrics in eval mode, and on the fixed training subset the metrics of each mode.

    `modes` are of `eval` (running averages), `train` (batch statistics at the job's batch size and at
    `LARGE_BATCH`; ragged tail dropped, dropout off) and `precise` (population statistics, estimated on the
    same subset). No evaluation changes a parameter or a running average.
    """

    def __init__(self, model: nn.Module, data: Data, *, batch_size: int, modes: Sequence[str]) -> None:
        self._model = model
        self._data = data
        self._batch_size = batch_size
        self._modes = modes
        self._norms = [module for module in model.modules() if isinstance(module, BatchNorm)]

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Metrics by name; the model is left in the mode it was in."""
        was_training = self._model.training
        self._model.eval()
        try:
            test = self._measure("test", self._data.test.batches(EVAL_BATCH))
            return test | self._gap(test)
        finally:
            self._model.train(was_training)

    def _gap(self, test: dict[str, float]) -> dict[str, float]:
        gap = self._data.gap
        metrics = self._measure("gap/eval_mode", gap.batches(EVAL_BATCH)) if self._modes else {}
        if not self._norms:
            # Without batch statistics every mode computes the same function: the numbers are eval mode's.
            large = ["gap/train_mode_large"] if len(gap) >= LARGE_BATCH else []
            names = {"train": ["gap/train_mode", *large], "precise": ["gap/precise"]}
            same = [name for mode in self._modes for name in names.get(mode, [])]
            metrics |= {f"{name}/{key}": metrics[f"gap/eval_mode/{key}"] for name in same for key in KEYS}
            if "precise" in self._modes:
                metrics |= {f"test/precise/{key}": test[f"test/{key}"] for key in KEYS}
        else:
            if "train" in self._modes:
                metrics |= self._train_mode()
            if "precise" in self._modes:
                metrics |= self._precise()
        if "eval" not in self._modes:
            metrics = {name: value for name, value in metrics.items() if "/eval_mode/" not in name}
        return metrics

    def _train_mode(self) -> dict[str, float]:
        gap = self._data.gap
        with precise.batch_statistics(self._model, self._norms):
            metrics = self._measure("gap/train_mode", gap.batches(self._batch_size, drop_last=True))
            if len(gap) >= LARGE_BATCH:
                large = gap.batches(LARGE_BATCH, drop_last=True)
                metrics |= self._measure("gap/train_mode_large", large)
        return metrics

    def _precise(self) -> dict[str, float]:
        gap = self._data.gap
        population = precise.estimate(self._model, self._norms, gap.batches(self._batch_size, drop_last=True))
        with precise.substituted(self._norms, population):
            return self._measure("gap/precise", gap.batches(EVAL_BATCH)) | self._measure(
                "test/precise", self._data.test.batches(EVAL_BATCH)
            )

    def _measure(self, prefix: str, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Mean loss and accuracy over all samples of the batches."""
        samples = 0
        losses, correct = [], []
        for inputs, targets in batches:
            logits = self._model(inputs)
            losses.append(F.cross_entropy(logits, targets, reduction="sum").double())
            correct.append((logits.argmax(1) == targets).sum())
            samples += len(targets)
        # .item() waits for the device; once for each pass
        loss, hits = torch.stack(losses).sum().item(), torch.stack(correct).sum().item()
        return {f"{prefix}/loss": loss / samples, f"{prefix}/accuracy": hits / samples}


KEYS = ("loss", "accuracy")
