"""The job as one writes it by hand in torch: the base of the comparison, and two usual variants of it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.paired import Turns
from worker.data.arrays import Arrays
from worker.seeding import seed_everything

BATCH_SIZE = 60
LEARNING_RATE = 0.1
EVAL_BATCH = 1000
STATISTICS_EVERY = 100

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """All samples in memory. inputs: (N, 784) float32 of 0 and 1; targets: (N,)."""

    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor

    @staticmethod
    def of(arrays: Arrays) -> "Tensors":
        """Decoded arrays as a plain loop wants them."""
        return Tensors(
            train_inputs=torch.from_numpy(arrays.train_inputs).flatten(1).float(),
            train_targets=torch.from_numpy(arrays.train_targets).clone(),
            test_inputs=torch.from_numpy(arrays.test_inputs).flatten(1).float(),
            test_targets=torch.from_numpy(arrays.test_targets).clone(),
        )


def network() -> nn.Sequential:
    """784-100-100-100-10 with sigmoids and torch's own batch norm, which makes a bias before it idle."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs in (784, 100, 100):
        layers += [nn.Linear(inputs, 100, bias=False), nn.BatchNorm1d(100), nn.Sigmoid()]
    output = nn.Linear(100, 10)
    model = nn.Sequential(*layers, output)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.1)
    nn.init.zeros_(output.bias)
    return model


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """Plain gradient descent."""
    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)


def shuffled(inputs: Tensor, targets: Tensor) -> Iterator[Batch]:
    """Batches without end, in a new order each epoch."""
    while True:
        for rows in torch.randperm(len(targets)).split(BATCH_SIZE):
            yield inputs.index_select(0, rows), targets.index_select(0, rows)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[Batch]) -> None:
    """One step for each batch, and nothing is recorded."""
    for inputs, targets in batches:
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def train_recording(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[Batch]) -> None:
    """The same with what is usually added to see something: `.item()` each step, moments by forward hooks."""
    losses, accuracies, moments = [], [], []
    recorded = False

    def keep_moments(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if recorded:
            x = inputs[0].detach()
            moments.append((x.mean(0), x.var(0, correction=0)))

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    hooks = [norm.register_forward_hook(keep_moments) for norm in norms]
    for step, (inputs, targets) in enumerate(batches, start=1):
        recorded = step % STATISTICS_EVERY == 0
        logits = model(inputs)
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        accuracies.append((logits.argmax(1) == targets).float().mean().item())
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def test_accuracy(model: nn.Module, tensors: Tensors) -> float:
    """Of the test set, in eval mode."""
    model.eval()
    parts = zip(tensors.test_inputs.split(EVAL_BATCH), tensors.test_targets.split(EVAL_BATCH), strict=True)
    correct = sum(int((model(inputs).argmax(1) == targets).sum()) for inputs, targets in parts)
    model.train()
    return correct / len(tensors.test_targets)


@contextmanager
def own_kernels() -> Iterator[None]:
    """Torch as a script finds it: a job asks for deterministic kernels, a plain loop does not."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


class PlainLoop:
    """The base: a loop over tensors in memory that goes on from where it was."""

    def __init__(self, tensors: Tensors) -> None:
        self.model = network()
        self._optimizer = optimizer_of(self.model)
        self._batches = shuffled(tensors.train_inputs, tensors.train_targets)

    def __call__(self, steps: int) -> None:
        train(self.model, self._optimizer, islice(self._batches, steps))


Trainer = Callable[[nn.Module, torch.optim.Optimizer, Iterable[Batch]], None]


def plain_block(tensors: Tensors, steps: int, turns: Turns, trainer: Trainer = train) -> None:
    """A loop over tensors in memory, once more."""
    model = network()
    optimizer = optimizer_of(model)
    with turns:
        batches = shuffled(tensors.train_inputs, tensors.train_targets)
        trainer(model, optimizer, in_turns(islice(batches, steps), turns))


def in_turns(batches: Iterable[Batch], turns: Turns) -> Iterator[Batch]:
    """The same batches; after the step on each, a turn may be the base's."""
    for batch in batches:
        yield batch
        turns()


def deterministic_block(tensors: Tensors, steps: int, turns: Turns) -> None:
    """The plain loop with what a job asks of torch's kernels."""
    with own_kernels():
        seed_everything(0)
        plain_block(tensors, steps, turns)


def loader_of(tensors: Tensors) -> "DataLoader[tuple[Tensor, ...]]":
    """The samples one by one, put together in this process."""
    samples = TensorDataset(tensors.train_inputs, tensors.train_targets)
    return DataLoader(samples, batch_size=BATCH_SIZE, shuffle=True, num_workers=0)


def loader_block(tensors: Tensors, steps: int, turns: Turns) -> None:
    """The plain loop, fed by a `DataLoader`."""
    model, loader = network(), loader_of(tensors)
    optimizer = optimizer_of(model)
    with turns:
        train(model, optimizer, in_turns(islice(chain.from_iterable(repeat(loader)), steps), turns))


def whole_job(tensors: Tensors, steps: int) -> None:
    """A job from its first weights to its last step, with one test of the network after each tenth."""
    loop = PlainLoop(tensors)
    for _ in range(10):
        loop(steps // 10)
        test_accuracy(loop.model, tensors)
