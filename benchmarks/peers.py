"""The same training in Lightning, as its users write it."""

import logging
import warnings

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from benchmarks.paired import Timing
from benchmarks.plain import Tensors, loader_of, network, optimizer_of

VERSION = lightning.__version__


class Classifier(LightningModule):
    """The network with its loss, logged at each step. Timed from before the first step to after the last."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.network = network()
        self.timing = Timing(steps=steps)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, targets = batch
        loss = F.cross_entropy(self.network(inputs), targets)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.network)

    def on_train_start(self) -> None:
        self.timing.start()

    def on_train_end(self) -> None:
        self.timing.stop()


def lightning_block(tensors: Tensors, steps: int) -> Timing:
    """`steps` steps with bars, checkpoints, summaries and loggers off; starting and ending are not timed."""
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
    classifier = Classifier(steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(classifier, loader_of(tensors))
    return classifier.timing
