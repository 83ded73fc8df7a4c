"""What a job's training minimizes."""

from typing import Literal

from db.datasets import Task
from db.spec.base import Part

Reduction = Literal["mean", "sum"]

#: The loss that `auto` stands for; a task takes no other.
LOSSES: dict[Task, Literal["cross_entropy", "mse"]] = {
    Task.CLASSIFICATION: "cross_entropy",
    Task.REGRESSION: "mse",
}


class Loss(Part):
    """The loss whose gradient training follows."""

    name: Literal["auto", "cross_entropy", "mse"] = "auto"
    """`auto` is cross-entropy in classification and the mean squared error in regression."""
    reduction: Reduction = "mean"
    """Over the samples of a step, in regression over their outputs too. With `sum` the gradient, and with it the
    right learning rate, depends on how many there are. Losses are reported as means either way."""
