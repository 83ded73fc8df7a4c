"""The encoder of the transformer, over the patches or the rows of an image, or over a sequence."""

from math import prod

from models.blueprint import Blueprint, Init, NormChoice, chain
from models.catalog.names import ActivationName, Architecture, Position
from models.kinds.base import Layer, Named
from models.kinds.containers import Chain, Residual
from models.kinds.layers import Activation, Dropout, Linear, Norm
from models.kinds.sequences import Attention, MeanToken, Patchify, PositionalEmbedding
from models.networks.rows import as_sequence
from models.placement import OUTPUT, place


def transformer(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    patch: int | None = None,
    depth: int = 2,
    features: int = 64,
    heads: int = 4,
    hidden: int = 128,
    activation: ActivationName = ActivationName.GELU,
    dropout: float = 0.0,
    norm: NormChoice,
    init: Init,
) -> Blueprint:
    """Tokens with learned positions, `depth` blocks, and a linear output from the mean of all tokens.

    A block is self-attention and then a feed-forward network of `hidden` units, each around a residual (Vaswani
    et al. 2017, arXiv 1706.03762, section 3.1). The norm stands at the beginning of both, and once more after
    the last block (`norm_first`, the network's own; Xiong et al. 2020, arXiv 2002.04745, table 1), or behind
    both additions (`norm_last`, as in Vaswani). To the norm each token is a sample.

    Dropout is where `torch.nn.TransformerEncoderLayer` has it, on the weights of the attention too, and after
    the positions are added.

    Norms of the weights act on the linear layers of the feed-forward networks and of the rows. Attention and
    patches are layers of one piece, whose matrices they leave as they are.
    """
    embed, tokens = _embedding(input_shape, patch, features)
    last = norm.position is Position.NORM_LAST
    site = norm.site(features, tokens=True)
    parts = {
        "attention": _attention(features, heads, dropout),
        "feed_forward": _feed_forward(features, hidden, activation, dropout),
    }
    block = chain(*((name, _around_residual(inner, site, last=last)) for name, inner in parts.items()))
    body = chain(
        *embed,
        ("position", PositionalEmbedding(tokens=tokens, features=features)),
        *_dropout("dropout", dropout),
        *((f"block{number}", block) for number in range(1, depth + 1)),
        *(() if last else (("norm", site),)),
        ("pool", MeanToken()),
        (OUTPUT, Linear(inputs=features, outputs=outputs)),
    )
    return Blueprint(
        architecture=Architecture.TRANSFORMER,
        input_shape=input_shape,
        outputs=outputs,
        init=init,
        body=place(body, norm),
    )


def _embedding(input_shape: tuple[int, ...], patch: int | None, features: int) -> tuple[Named, int]:
    """The layers that make tokens of a sample, and how many tokens."""
    if patch is None:
        first, steps, inputs = as_sequence(input_shape)
        return (*first, ("embed", Linear(inputs=inputs, outputs=features))), steps
    patches = Patchify(inputs=input_shape[0], features=features, patch=patch)
    return (("embed", patches),), prod(side // patch for side in input_shape[1:])


def _attention(features: int, heads: int, dropout: float) -> Named:
    return (
        ("heads", Attention(features=features, heads=heads, dropout=dropout)),
        *_dropout("dropout", dropout),
    )


def _feed_forward(features: int, hidden: int, activation: ActivationName, dropout: float) -> Named:
    return (
        ("linear1", Linear(inputs=features, outputs=hidden)),
        ("activation", Activation(activation=activation)),
        *_dropout("dropout1", dropout),
        ("linear2", Linear(inputs=hidden, outputs=features)),
        *_dropout("dropout2", dropout),
    )


def _dropout(name: str, p: float) -> Named:
    return ((name, Dropout(p=p)),) if p else ()


def _around_residual(inner: Named, site: Norm, *, last: bool) -> Layer:
    """A part of a block with its norm; the norm's dotted name is the same in both positions."""
    if last:
        return chain(("residual", Residual(branch=Chain(layers=inner))), ("norm", site))
    return Residual(branch=chain(("norm", site), *inner))
