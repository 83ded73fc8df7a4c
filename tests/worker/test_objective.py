"""Losses, their gradients, and the scores of whole data sets."""

import pytest
import torch
from torch.nn import functional as F

from worker.objective import Classification, Objective, Regression

CPU = torch.device("cpu")
PLAIN = {Classification: F.cross_entropy, Regression: F.mse_loss}
tasks = pytest.mark.parametrize("task", [Classification, Regression], ids=lambda task: task.__name__)


def batch(task: type[Objective], size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets of a task, about half of them good."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(size, 3, generator=generator)
    if task is Classification:
        return outputs, torch.randint(3, (size,), generator=generator)
    return outputs, outputs + torch.randn(size, 3, generator=generator) * torch.tensor([0.1, 1.0, 3.0])


@tasks
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_minimized_loss_is_torchs_and_the_reported_one_the_mean(task, reduction):
    objective, (outputs, targets) = task(reduction), batch(task, 7)
    minimized = objective.minimized(outputs.requires_grad_(), targets)
    assert torch.equal(minimized, PLAIN[task](outputs, targets, reduction=reduction))
    assert torch.equal(objective.loss(outputs, targets), PLAIN[task](outputs, targets))
    reported = objective.reported(minimized, outputs)
    torch.testing.assert_close(reported, PLAIN[task](outputs, targets))


@tasks
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_shares_of_parts_add_up_to_the_loss_of_all_samples(task, reduction):
    objective, (outputs, targets) = task(reduction), batch(task, 10)
    parts = list(zip(outputs.split(4), targets.split(4), strict=True))
    total = sum(
        objective.share(len(each), 10) * objective.minimized(guess, each).double() for guess, each in parts
    )
    assert total.item() == pytest.approx(objective.minimized(outputs, targets).item(), rel=1e-6)


@pytest.mark.parametrize("sizes", [[50], [16, 16, 16, 2], [1] * 50, [49, 1]], ids=str)
def test_a_tally_of_a_regression_is_that_of_all_samples_at_once(sizes):
    outputs, targets = batch(Regression, 50)
    outputs, targets = outputs + 1000, targets + 1000
    tally = Regression().tally(CPU)
    for guess, part in zip(outputs.split(sizes), targets.split(sizes), strict=True):
        tally.add(guess, part)
    y = targets.double()
    error = (outputs.double() - y).square()
    r2 = 1 - error.sum() / (y - y.mean(0)).square().sum()
    expected = {"loss": error.mean().item(), "rmse": error.mean().sqrt().item(), "r2": r2.item()}
    assert tally.metrics() == pytest.approx(expected, rel=1e-5)
    # One output with other means and spreads than the next: the mean of all of them would not do.
    assert tally.metrics()["r2"] != pytest.approx(
        1 - (error.sum() / (y - y.mean()).square().sum()).item(), rel=1e-5
    )


def test_a_tally_of_a_classification_is_that_of_all_samples_at_once():
    outputs, targets = batch(Classification, 50)
    tally = Classification().tally(CPU)
    for guess, part in zip(outputs.split(16), targets.split(16), strict=True):
        tally.add(guess, part)
    expected = {
        "loss": F.cross_entropy(outputs.double(), targets).item(),
        "accuracy": (outputs.argmax(1) == targets).double().mean().item(),
    }
    assert tally.metrics() == pytest.approx(expected, rel=1e-6)
