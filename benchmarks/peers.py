"""The same training in Lightning, as its users write it."""

import logging
import warnings
from typing import Any

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from benchmarks.paired import Turns
from benchmarks.plain import Tensors, loader_of, network, optimizer_of

VERSION = lightning.__version__


class Classifier(LightningModule):
    """The network with its loss, logged at each step. Timed from before the first step to after the last."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self.network = network()
        self.turns = turns

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, targets = batch
        loss = F.cross_entropy(self.network(inputs), targets)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.network)

    def on_train_start(self) -> None:
        self.turns.__enter__()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.turns()

    def on_train_end(self) -> None:
        self.turns.__exit__(None, None, None)


def lightning_block(tensors: Tensors, steps: int, turns: Turns) -> None:
    """Bars, checkpoints, summaries and loggers are off; starting and ending are not timed."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Classifier(turns), loader_of(tensors))
