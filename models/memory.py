"""What training holds in memory, estimated from a blueprint: free of torch, in milliseconds."""

from dataclasses import dataclass
from math import prod

from models.blueprint import Blueprint
from models.catalog.names import NormName
from models.catalog.registry import norms
from models.kept import kept
from models.kinds.layers import Conv, Linear, Norm, NormActivation
from models.shapes import LayerShape, layers

#: Bytes of a float32.
FLOAT = 4
#: Samples of one forward pass of an evaluation where the batch size has no influence on the result, and the most
#: values that the output of one layer may then have: 256 MiB.
EVAL_BATCH = 1000
EVAL_VALUES = 2**26
#: Batch size of `gap/train_mode_large`: large enough that the noise of batch statistics is small.
LARGE_BATCH = 500
#: Tensors of the size of the largest output that a forward pass without gradients holds at once: what a layer
#: takes, a copy of it in the order that a convolution's kernel wants, what it gives, and a residual's shortcut.
#: Measured on the CPU: 2 in `cnn`, up to 6 in ResNet-20 and with norms that compute in several passes.
HELD = 4
#: What is held for a batch takes 1.0 to 2.2 times its size on the CPU (measured with 13 networks): glibc serves
#: tensors below 32 MiB from a heap that comes apart. With MALLOC_TOP_PAD_=0 it is 1.0, but ResNet-20 takes twice
#: the time.
PIECES = 1.75


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that training in float32 holds at once, by what they are for.

    Counted: parameters, their gradients, the optimizer's copies of them, weights that are computed from
    parameters, running averages with their scratch, an averaged model, and for each sample of a batch the input,
    what the backward pass reads again, and the gradients of the largest layer, all of that times `PIECES`; or in
    its place, where it is more, the copy that a checkpoint takes, or what an evaluation holds. A probe holds
    copies of the parameters beside the batch. Not counted: the process itself with torch, the data set,
    recorded rows that wait for a flush, and workspace of the kernels.
    """

    parameters: int
    gradients: int
    optimizer: int
    weights: int
    buffers: int
    #: For each sample of a batch.
    sample: int
    #: Of the largest batches of an evaluation. Those of the job's own size hold less than training does.
    evaluation: int
    batch_size: int
    #: Of the probes, beside a batch.
    probes: int = 0
    #: Of the averaged model.
    averaged: int = 0

    @property
    def checkpoint(self) -> int:
        """The copy of the state, and the same as the bytes of a file."""
        return 2 * (self.parameters + self.optimizer + self.averaged)

    @property
    def fixed(self) -> int:
        """What does not depend on the batch."""
        training = self.parameters + self.gradients + self.optimizer + self.weights + self.buffers
        return training + self.probes + self.averaged

    @property
    def total(self) -> int:
        """The most that is held at once."""
        return self.fixed + max(self.batch_size * self.sample, self._least)

    @property
    def _least(self) -> int:
        """What is held beside the fixed whatever the batch."""
        return max(self.checkpoint, self.evaluation)

    def largest_batch(self, limit: int) -> int:
        """The largest batch with which no more than `limit` bytes are held; 0 if there is none."""
        room = limit - self.fixed
        return room // self.sample if room >= self._least else 0


def eval_batch(largest_output: int) -> int:
    """Samples of one forward pass of an evaluation, where the largest layer gives so many values for a sample.

    Two are the least: a norm without running averages needs them.
    """
    return max(2, min(EVAL_BATCH, EVAL_VALUES // largest_output))


def estimate(
    blueprint: Blueprint,
    *,
    batch_size: int,
    optimizer_copies: int,
    evaluated: int = EVAL_BATCH,
    probe_copies: int = 0,
    averaged: bool = False,
) -> Memory:
    """The memory of training with batches of `batch_size`.

    `optimizer_copies` is how many numbers the optimizer keeps for each parameter: 0 for SGD, 1 with momentum, 2
    for AdamW; `evaluated` how many samples there are to evaluate on at a time; `probe_copies` how many numbers
    the probes keep for each parameter while they measure; `averaged` whether there is a second model of averaged
    weights.
    """
    steps = layers(blueprint)
    parameters = FLOAT * sum(step.parameters for step in steps)
    backward, _ = kept(blueprint.body, blueprint.input_shape)
    largest = max((prod(step.input) + prod(step.output) for step in steps), default=0)
    output = max((prod(step.output) for step in steps), default=1)
    buffers = FLOAT * sum(map(_buffers, steps))
    return Memory(
        parameters=parameters,
        gradients=parameters,
        optimizer=optimizer_copies * parameters,
        weights=FLOAT * sum(map(_computed_weights, steps)),
        buffers=buffers,
        sample=round(PIECES * FLOAT * (prod(blueprint.input_shape) + backward.inside + largest)),
        evaluation=HELD * FLOAT * output * min(evaluated, eval_batch(output)),
        batch_size=batch_size,
        probes=probe_copies * parameters,
        averaged=parameters + buffers if averaged else 0,
    )


def _computed_weights(step: LayerShape) -> int:
    """Weights that are computed anew at each step, with what their gradient needs."""
    layer = step.layer
    if not isinstance(layer, Linear | Conv) or layer.weight is None:
        return 0
    copies = 2 if layer.weight.norm == NormName.WEIGHT_STANDARDIZATION else 1
    return copies * layer.outputs * layer.inputs * getattr(layer, "kernel", 1) ** 2


def _buffers(step: LayerShape) -> int:
    """Two moments of each channel, running and of the latest batch."""
    layer = step.layer
    if not isinstance(layer, Norm | NormActivation) or not norms()[layer.norm].uses_batch:
        return 0
    return 4 * layer.features * (step.time_steps or 1)
