"""Float16: a scaled loss, gradients as they are, and steps that are skipped instead of spoiling the weights."""

from typing import Any

import pytest
import torch
from torch import nn

from models.build import build
from tests.db.support import make_spec
from tests.worker.networks import small_network
from tests.worker.test_scheduler import stored
from worker.device import in_precision
from worker.optim import make_optimizer
from worker.scaler import LossScaler, Unscaled, make_scaler

CPU = torch.device("cpu")
MOMENTUM = {"name": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
ADAMW = {"name": "AdamW", "lr": 0.1}
both = pytest.mark.parametrize("optimizer", [MOMENTUM, ADAMW, {"name": "SGD"}], ids=str)


class Training:
    """A layer whose gradients are what each step says."""

    def __init__(self, optimizer: dict[str, Any], precision: str = "float16") -> None:
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.scaler = make_scaler(precision, CPU)
        spec = make_spec(optimizer=optimizer, precision=precision).optimizer
        self.optimizer = make_optimizer(spec, self.layer, fused=precision == "float16")

    def step(self, *sizes: float) -> None:
        """One step of as many parts, each with gradients of this size."""
        self.optimizer.zero_grad()
        for size in sizes:
            loss = sum((parameter * size).sum() for parameter in self.layer.parameters())
            self.scaler.scale(loss).backward()
        self.scaler.unscale(self.optimizer)
        self.scaler.step(self.optimizer)

    def weights(self) -> torch.Tensor:
        return nn.utils.parameters_to_vector(self.layer.parameters()).detach().clone()

    def parts(self) -> tuple[Any, ...]:
        return self.layer, self.optimizer, self.scaler


def test_only_float16_is_scaled():
    assert isinstance(make_scaler("float16", CPU), LossScaler)
    assert {type(make_scaler(precision, CPU)) for precision in ("float32", "bfloat16")} == {Unscaled}


def test_without_scaling_the_step_is_the_optimizers_own():
    training, plain = Training(MOMENTUM, "float32"), Training(MOMENTUM, "float32")
    loss = torch.ones(())
    assert training.scaler.scale(loss) is loss
    for _ in range(3):
        training.step(2.0)
        for parameter in plain.layer.parameters():
            parameter.grad = torch.full_like(parameter, 2.0)
        plain.optimizer.step()
    assert torch.equal(training.weights(), plain.weights())
    assert training.scaler.state_dict() == {}
    training.scaler.load_state_dict({})


@both
def test_scaled_steps_are_those_of_the_loss_itself(optimizer):
    scaled, plain = Training(optimizer), Training(optimizer, "float32")
    for sizes in ([0.5], [0.25, 0.125], [3.0]):
        scaled.step(*sizes)
        plain.step(*sizes)
        torch.testing.assert_close(scaled.weights(), plain.weights())
    assert scaled.layer.weight.grad.tolist() == [[3.0] * 3] * 2  # unscaled


@both
@pytest.mark.parametrize("size", [float("inf"), float("nan")])
@pytest.mark.parametrize("before", [0, 2])
def test_a_step_that_overflows_changes_nothing_but_the_factor(optimizer, size, before):
    skipping, plain = Training(optimizer), Training(optimizer)
    for _ in range(before):
        skipping.step(1.0)
        plain.step(1.0)
    factor = skipping.scaler.state_dict()["scale"]
    for halvings in (1, 2):
        skipping.step(1.0, size)
        assert torch.equal(skipping.weights(), plain.weights())
        assert skipping.scaler.state_dict()["scale"] == factor / 2**halvings
    # Nor has it left anything in the optimizer's averages.
    skipping.step(1.0)
    plain.step(1.0)
    torch.testing.assert_close(skipping.weights(), plain.weights(), rtol=0, atol=0)


def test_the_momentum_of_a_fused_optimizer_is_there_from_the_start():
    training = Training(MOMENTUM)
    kept = [training.optimizer.state[parameter]["momentum_buffer"] for parameter in training.layer.parameters()]
    assert [buffer.abs().max() for buffer in kept] == [0, 0]


@both
def test_a_resume_goes_on_bit_identically(optimizer):
    sizes = [1.0, float("inf"), 0.3, 0.2, float("inf"), 0.1]
    undisturbed, interrupted, resumed = Training(optimizer), Training(optimizer), Training(optimizer)
    for size in sizes:
        undisturbed.step(size)
    for size in sizes[:3]:
        interrupted.step(size)
    states = stored([part.state_dict() for part in interrupted.parts()])
    for part, state in zip(resumed.parts(), states, strict=True):
        part.load_state_dict(state)
    for size in sizes[3:]:
        resumed.step(size)
    assert torch.equal(resumed.weights(), undisturbed.weights())
    assert resumed.scaler.state_dict() == undisturbed.scaler.state_dict()


def test_the_factor_grows_again():
    training = Training(MOMENTUM)
    state = training.scaler.state_dict()
    training.scaler.load_state_dict(state | {"scale": 4.0, "growth_interval": 3, "_growth_tracker": 1})
    for expected in (4.0, 8.0, 8.0):
        training.step(1.0)
        assert training.scaler.state_dict()["scale"] == expected


def test_gradients_that_float16_does_not_have_are_found_by_scaling():
    """The gradient of the hidden layer's outputs is about 1e-8, below float16's least positive number, 6e-8."""

    def gradient(scaled: bool) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
        scaler = make_scaler("float16" if scaled else "float32", CPU)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        scaler.scale(1e-8 * in_precision(model, "float16", CPU)(torch.ones(1, 4)).sum()).backward()
        scaler.unscale(optimizer)
        return model[0].weight.grad.abs().max().item()

    assert gradient(scaled=False) == 0
    assert 1e-10 < gradient(scaled=True) < 1e-7


@pytest.mark.parametrize(
    ("architecture", "norm"),
    [
        ("mlp", "batch"),
        ("vgg", "instance"),
        ("resnet", "group"),
        ("lstm", "layer"),
        ("gru", "batch"),
        ("transformer", "rms"),
    ],
)
def test_networks_of_every_kind_run_in_float16(architecture, norm):
    torch.manual_seed(0)
    spec = small_network(architecture, norm)
    model = build(spec.blueprint()).train()
    optimizer, scaler = make_optimizer(spec.optimizer, model, fused=True), make_scaler("float16", CPU)
    forward, inputs = in_precision(model, "float16", CPU), torch.randn(8, *spec.dataset.info.shape)
    for _ in range(5):
        optimizer.zero_grad()
        scaler.scale(nn.functional.cross_entropy(forward(inputs), torch.arange(8))).backward()
        scaler.unscale(optimizer)
        finite = all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        scaler.step(optimizer)
    assert finite
    assert all(value.isfinite().all() for value in model.state_dict().values())
