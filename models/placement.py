"""Rewrites of a blueprint that follow from where its norms stand."""

from dataclasses import replace

from models.blueprint import Chain, Layer, Linear, Norm
from models.catalog import NORMS


def leave_out_absorbed_biases(chain: Chain) -> Chain:
    """Drop the bias of a linear layer that a norm follows which subtracts each channel's mean.

    Such a bias has no effect and no gradient; the norm's own shift takes its place (Ioffe & Szegedy 2015,
    section 3.2).
    """
    followers: list[Layer | None] = [layer for _, layer in chain.layers[1:]]
    followers.append(None)
    layers: list[tuple[str, Layer]] = []
    for (name, layer), follower in zip(chain.layers, followers, strict=True):
        if isinstance(layer, Chain):
            layers.append((name, leave_out_absorbed_biases(layer)))
        elif isinstance(layer, Linear) and isinstance(follower, Norm) and NORMS[follower.name].absorbs_bias:
            layers.append((name, replace(layer, bias=False)))
        else:
            layers.append((name, layer))
    return Chain(layers=tuple(layers))
