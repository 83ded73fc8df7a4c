"""Recurrent networks and transformers to test with, and how they are compared."""

import pytest
import torch
from torch import Tensor

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import Position
from models.networks.recurrent import recurrent
from models.networks.transformer import transformer

STEPS, INPUTS, OUTPUTS = 6, 3, 4

cells = pytest.mark.parametrize("cell", ["lstm", "gru"])


def recurrent_of(
    cell: str, norm: str = "none", *, hidden=(5,), shape=(STEPS, INPUTS), init=None, options=(), **changes
) -> Blueprint:
    """A small recurrent network over sequences."""
    choice = NormChoice(name=norm, options=options)
    return recurrent(shape, OUTPUTS, cell=cell, hidden=hidden, norm=choice, init=init or Init(), **changes)


def transformer_of(
    norm: str = "layer", position=Position.AUTO, *, shape=(STEPS, INPUTS), init=None, options=(), **changes
) -> Blueprint:
    """A small transformer over sequences, with two blocks and two heads of 4 features."""
    choice = NormChoice(name=norm, options=options, position=position)
    sizes = {"features": 8, "heads": 2, "hidden": 12} | changes
    return transformer(shape, OUTPUTS, norm=choice, init=init or Init(), **sizes)


def loss_of(y: Tensor) -> Tensor:
    """Some smooth loss that treats every value differently."""
    return (torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y) * y.sin()).sum()


def assert_same(found, expected, tolerance=1e-10) -> None:
    """Tensors of one sequence are those of the other."""
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def copy_into(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Give the second of each pair the values of the first."""
    with torch.no_grad():
        for original, copy in pairs:
            copy.copy_(original)
