"""The transformer against torch's own attention and encoder layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.blueprint import Init
from models.build import build
from models.catalog.names import ActivationName, InitName, Position
from models.layers import Attention, TokenNorm
from tests.models.networks.sequences import INPUTS, STEPS, assert_same, copy_into, loss_of, transformer_of

BATCH, FEATURES, HEADS, HIDDEN = 5, 8, 2, 12
positions = pytest.mark.parametrize("position", [Position.NORM_FIRST, Position.NORM_LAST])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(6)


def sample(*shape: int) -> Tensor:
    return torch.randn(*(shape or (BATCH, STEPS, INPUTS)), dtype=torch.float64)


def gradients_of(y: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    found = torch.autograd.grad(loss_of(y), wanted)
    assert max(gradient.abs().max() for gradient in found) > 1e-3
    return found


def attention_pairs(own: nn.Module, stock: nn.MultiheadAttention) -> list[tuple[Tensor, Tensor]]:
    return [
        (own.query_key_value.weight, stock.in_proj_weight),
        (own.query_key_value.bias, stock.in_proj_bias),
        (own.output.weight, stock.out_proj.weight),
        (own.output.bias, stock.out_proj.bias),
    ]


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_attention_outputs_and_gradients_are_those_of_torch(heads):
    own = Attention(features=8, heads=heads, dropout=0.0).double()
    stock = nn.MultiheadAttention(8, heads, batch_first=True).double()
    pairs = attention_pairs(own, stock)
    copy_into(pairs)
    x = sample(BATCH, STEPS, 8).requires_grad_()
    y, (expected, _) = own(x), stock(x, x, x, need_weights=False)
    assert_same([y], [expected])
    ours, stocks = zip(*pairs, strict=True)
    assert_same(gradients_of(y, [x, *ours]), gradients_of(expected, [x, *stocks]))


def test_attention_drops_weights_in_train_mode_alone():
    own = Attention(features=8, heads=2, dropout=0.5).double()
    x = sample(BATCH, STEPS, 8)
    drawn = torch.stack([own(x) for _ in range(1000)])
    whole = own.eval()(x)
    assert torch.equal(whole, own(x))
    assert (drawn[0] - drawn[1]).abs().max() > 1e-2
    # What is left is scaled up, so that the mean stays.
    torch.testing.assert_close(drawn.mean(0), whole, rtol=0, atol=5 * drawn.std().item() / 1000**0.5)


def layer_pairs(block: nn.Module, stock: nn.TransformerEncoderLayer, *, last: bool) -> list[tuple[Tensor, Tensor]]:
    """Our parameters of a block beside torch's."""
    attention, feed_forward = (part.residual if last else part for part in (block.attention, block.feed_forward))
    modules = [
        (block.attention.norm.norm, stock.norm1),
        (block.feed_forward.norm.norm, stock.norm2),
        (feed_forward.linear1, stock.linear1),
        (feed_forward.linear2, stock.linear2),
    ]
    pairs = [pair for own, other in modules for pair in zip(own.parameters(), other.parameters(), strict=True)]
    return attention_pairs(attention.heads, stock.self_attn) + pairs


@positions
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_network_is_torchs_encoder_between_embedding_and_output(position, activation):
    last = position is Position.NORM_LAST
    network = build(transformer_of("layer", position, activation=ActivationName(activation))).double()
    stocks = [
        nn.TransformerEncoderLayer(
            FEATURES, HEADS, HIDDEN, dropout=0.0, activation=activation, batch_first=True, norm_first=not last
        ).double()
        for _ in range(2)
    ]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    pairs = [
        pair
        for block, stock in zip((network.block1, network.block2), stocks, strict=True)
        for pair in layer_pairs(block, stock, last=last)
    ]
    copy_into(pairs)
    x = sample().requires_grad_()
    tokens = network.embed(x) + network.position.weight
    for stock in stocks:
        tokens = stock(tokens)
    if not last:
        tokens = F.layer_norm(tokens, (FEATURES,), network.norm.norm.weight, network.norm.norm.bias)
    y, expected = network(x), network.output(tokens.mean(1))
    assert_same([y], [expected])
    ours, theirs = zip(*pairs, strict=True)
    shared = [x, network.embed.weight, network.position.weight]
    assert_same(gradients_of(y, [*shared, *ours]), gradients_of(expected, [*shared, *theirs]))


def test_batch_norm_takes_each_token_as_a_sample():
    own = build(transformer_of("batch")).double().block1.attention.norm
    assert isinstance(own, TokenNorm)
    stock = nn.BatchNorm1d(FEATURES, momentum=1.0).double()
    for parameter in own.parameters():
        nn.init.normal_(parameter)
    copy_into([(own.norm.weight, stock.weight), (own.norm.bias, stock.bias)])
    x = sample(BATCH, STEPS, FEATURES).requires_grad_()
    y, expected = own(x), stock(x.reshape(-1, FEATURES)).view_as(x)
    assert_same([y], [expected])
    assert_same(gradients_of(y, [x]), gradients_of(expected, [x]))
    assert_same([own.norm.batch_mean, own.norm.batch_var], [stock.running_mean, stock.running_var])


@pytest.mark.parametrize("norm", ["layer", "rms", "group", "dyt"])
def test_other_norms_treat_each_token_by_itself(norm):
    options = (("groups", 4),) if norm == "group" else ()
    own = build(transformer_of(norm, options=options)).double().block1.attention.norm
    x = sample(BATCH, STEPS, FEATURES)
    by_token = torch.stack([own.norm(token) for token in x.unbind(1)], dim=1)
    assert_same([own(x)], [by_token])
    changed = x.clone()
    changed[:, 2] += 1 + x[:, 2].square()
    moved = (own(changed) - own(x)).abs().amax((0, 2))
    assert moved[2] > 1e-3
    assert torch.count_nonzero(moved) == 1


def blocks_of(network: nn.Module) -> nn.Sequential:
    return nn.Sequential(network.block1, network.block2)


@positions
@pytest.mark.parametrize("norm", ["layer", "none", "batch", "rms", "dyt"])
def test_without_positions_permuted_tokens_give_permuted_outputs(norm, position):
    network = build(transformer_of(norm, position)).double()
    x, order = sample(BATCH, STEPS, FEATURES), torch.randperm(STEPS)
    assert not torch.equal(order, torch.arange(STEPS))
    blocks = blocks_of(network)
    assert_same([blocks(x[:, order])], [blocks(x)[:, order]])
    rows = sample()
    assert (network(rows[:, order]) - network(rows)).abs().max() > 1e-6
    nn.init.zeros_(network.position.weight)
    assert_same([network(rows[:, order])], [network(rows)])


def test_patches_are_tokens_in_reading_order_through_one_linear_map():
    network = build(transformer_of(shape=(2, 6, 9), patch=3)).double()
    x = sample(BATCH, 2, 6, 9)
    conv = network.embed.conv
    corners = [(row, column) for row in (0, 3) for column in (0, 3, 6)]
    patches = [x[:, :, row : row + 3, column : column + 3].flatten(1) for row, column in corners]
    expected = F.linear(torch.stack(patches, dim=1), conv.weight.flatten(1), conv.bias)
    assert_same([network.embed(x)], [expected])
    assert network.position.weight.shape == (6, FEATURES)


def test_without_patches_each_row_of_an_image_is_a_token():
    network = build(transformer_of(shape=(2, 6, 9))).double()
    x = sample(BATCH, 2, 6, 9)
    rows = torch.cat([x[:, 0], x[:, 1]], dim=2)
    assert_same([network.embed(network.rows(x))], [F.linear(rows, network.embed.weight, network.embed.bias)])
    assert network.position.weight.shape == (6, FEATURES)


@pytest.mark.parametrize("patch", [None, 3])
def test_channels_last_gives_the_same_outputs(patch):
    network = build(transformer_of(shape=(3, 6, 9), patch=patch)).eval()
    x = torch.randn(BATCH, 3, 6, 9)
    expected = network(x)
    network.to(memory_format=torch.channels_last)
    assert_same([network(x.to(memory_format=torch.channels_last))], [expected], 1e-5)
    one = x[:1].to(memory_format=torch.channels_last)
    assert_same([network(one)], [expected[:1]], 1e-5)


@positions
@pytest.mark.parametrize("norm", ["layer", "none", "batch", "rms", "dyt"])
def test_bfloat16_autocast_stays_near_float32(norm, position):
    sizes = {"features": 32, "heads": 4, "hidden": 64}
    network = build(transformer_of(norm, position, shape=(1, 12, 12), patch=3, **sizes))
    x = torch.randn(64, 1, 12, 12)
    expected = network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = network(x)
    assert y.dtype is torch.bfloat16
    spread = (expected - expected.mean(0)).norm()
    assert 0 < (y.float() - expected).norm() < 0.1 * spread


def test_the_scheme_draws_attention_and_patches_too_and_leaves_positions_small():
    init = Init(name=InitName.NORMAL, std=0.3)
    network = build(transformer_of(shape=(3, 32, 32), patch=8, features=64, init=init))
    heads = network.block1.attention.heads
    for layer in (network.embed.conv, heads.query_key_value, heads.output):
        assert layer.weight.std().item() == pytest.approx(0.3, rel=0.05)
        assert torch.count_nonzero(layer.bias) == 0
    assert network.position.weight.std().item() == pytest.approx(0.02, rel=0.1)
