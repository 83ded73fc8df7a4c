"""Which networks, norms and batches go together. Each rule names the field, what is allowed, and the way out."""

from collections.abc import Sequence
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING

from db.spec.errors import spec_error
from db.spec.means import check_means
from models.blueprint import Blueprint
from models.catalog.names import NormName, Position
from models.catalog.records import Form, Moments
from models.catalog.registry import architectures, norms
from models.kinds.containers import Residual
from models.kinds.layers import Conv, Linear, Norm, NormActivation
from models.shapes import LayerShape, ShapeError, Site, layers, sites, walk

if TYPE_CHECKING:
    from db.spec.job import JobSpec

#: What a norm of each form needs in a network.
_NEEDS = {
    Form.LAYER: 'a layer {"name": "norm"}',
    Form.FUSED: 'a layer {"name": "norm"}',
    Form.WEIGHT: "a linear layer or convolution before the output",
    Form.RESIDUAL: "a residual block",
}


def check_norm(spec: "JobSpec") -> None:
    """The network takes the norm, at that position."""
    network, name = architectures()[spec.architecture.name], str(spec.norm.name)
    if name not in network.norms:
        raise spec_error(
            "norm_not_taken",
            "/norm/name",
            f"A network '{network.name}' takes no norm {name!r}. Choose one of {', '.join(network.norms)}.",
            allowed=list(network.norms),
        )
    position = getattr(spec.norm, "position", Position.AUTO)
    allowed = [Position.AUTO.value, *(each.value for each in network.positions)]
    if position.value not in allowed:
        raise spec_error(
            "position_not_taken",
            "/norm/position",
            f"A network '{network.name}' has no norms {position.value!r}. Choose one of {', '.join(allowed)}.",
            allowed=allowed,
            given=position.value,
        )


def check_shapes(spec: "JobSpec") -> Blueprint:
    """The network takes the data, every layer what comes before it, and it ends in the outputs of the data."""
    try:
        blueprint = spec.blueprint()
        output = walk("", blueprint.body, blueprint.input_shape, [])
    except ShapeError as error:
        message = f"{error}. A sample of the data has shape {list(spec.dataset.info.shape)}."
        raise spec_error("shape_mismatch", spec.architecture.pointer(error.name), message) from error
    if output != (blueprint.outputs,):
        what = "numbers to predict" if spec.dataset.info.classes is None else "classes"
        raise spec_error(
            "shape_mismatch",
            spec.architecture.pointer(blueprint.body.layers[-1][0]),
            f"The network ends in {list(output)}, and the data has {blueprint.outputs} {what}. End it in a "
            f"linear layer of {blueprint.outputs} units.",
            allowed=[blueprint.outputs],
        )
    return blueprint


def check_sites(spec: "JobSpec", blueprint: Blueprint) -> None:
    """The norm has its place in the network, and every site the values that it needs."""
    _check_use(spec, layers(blueprint))
    found = sites(blueprint)
    _check_groups(spec, found)
    for site in found:
        _check_positions(spec, site)
        _check_sample(spec, site)
        _check_batch(spec, site)
        _check_test_set(spec, site)
    _check_chunks(spec)
    check_means(spec, blueprint)


def _check_use(spec: "JobSpec", steps: Sequence[LayerShape]) -> None:
    """The norm changes something; a norm of weights does not leave nothing of them."""
    name, form = str(spec.norm.name), norms()[spec.norm.name].form
    weighted = [step.layer for step in steps if isinstance(step.layer, Linear | Conv) and step.layer.weight]
    used = {
        Form.WEIGHT: bool(weighted),
        Form.RESIDUAL: any(isinstance(step.layer, Residual) for step in steps),
    }.get(form, any(isinstance(step.layer, Norm | NormActivation) for step in steps))
    if not used and name != NormName.NONE:
        raise spec_error(
            "norm_without_effect",
            "/norm/name",
            f"Norm {name!r} would have no effect: the network has no place for it. Add {_NEEDS[form]}, or choose "
            "norm 'none'.",
            allowed=[NormName.NONE.value],
        )
    single = any(layer.inputs * getattr(layer, "kernel", 1) ** 2 == 1 for layer in weighted)
    if single and name == NormName.WEIGHT_STANDARDIZATION:
        raise spec_error(
            "one_value_per_filter",
            "/norm/name",
            "Standardized, a filter of a single weight is 0, and the network has such filters. Choose another "
            "norm, or a wider layer before them.",
        )


def _check_groups(spec: "JobSpec", found: Sequence[Site]) -> None:
    """The groups divide the channels of every site, into groups of more than one value."""
    groups = getattr(spec.norm, "groups", None)
    if not groups or not found:
        return
    common = reduce(gcd, (site.channels for site in found))
    least = min(site.channels * _pooled(spec, site) for site in found)
    fitting = [number for number in range(1, common + 1) if common % number == 0 and least >= 2 * number]
    if groups in fitting:
        return
    undivided = next((site for site in found if site.channels % groups), None)
    if undivided is not None:
        code = "channels_not_divisible"
        why = f"The {undivided.channels} channels of site {undivided.name} are not divisible by {groups} groups."
    else:
        code = "one_value_per_group"
        why = f"With {groups} groups some group is a single value, of which normalization leaves nothing."
    way = f"Take {_either(fitting)}" if fitting else "No number of groups fits every site: take wider layers"
    raise spec_error(code, "/norm/groups", f"{why} {way}, or another norm.", allowed=fitting)


def _pooled(spec: "JobSpec", site: Site) -> int:
    """Values of one channel over which a norm of samples takes its moments."""
    return 1 if site.tokens or getattr(spec.norm, "over", None) == "channels" else site.positions


def _either(numbers: Sequence[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last


def _check_positions(spec: "JobSpec", site: Site) -> None:
    """A norm over the positions of one sample has more than one there."""
    least = norms()[site.norm].positions
    if site.positions >= least or site.tokens:
        return
    others = [name for name in architectures()[spec.architecture.name].norms if norms()[name].positions == 1]
    raise spec_error(
        "one_value_per_channel",
        "/norm/name",
        f"Norm '{site.norm}' needs at least {least} values of each channel in a sample, and site {site.name} has "
        f"{site.positions}. Choose another norm, or a network with larger maps there.",
        allowed=others,
    )


def _check_sample(spec: "JobSpec", site: Site) -> None:
    """A norm over all values of one sample, or over the channels of each position, has more than one."""
    if norms()[site.norm].records is not Moments.SAMPLE or site.channels * _pooled(spec, site) > 1:
        return
    over_channels = site.positions > 1 and not site.tokens
    raise spec_error(
        "one_value_per_sample",
        "/norm/over" if over_channels else "/norm/name",
        f"At site {site.name} norm '{site.norm}' would normalize each value by itself, which leaves at most its "
        f"sign. Choose {'over: sample, ' if over_channels else ''}a wider layer or another norm.",
        allowed=["sample"] if over_channels else None,
    )


def _check_batch(spec: "JobSpec", site: Site) -> None:
    """A norm over the batch has enough values of each channel."""
    least, available = norms()[site.norm].values_per_channel, spec.dataset.train_samples
    if spec.batch_size * site.positions < least:
        raise spec_error(
            "one_value_per_channel",
            "/batch_size",
            f"Norm '{site.norm}' needs at least {least} values of each channel in a batch, and site {site.name} "
            f"has {site.positions} in a sample. Take a larger batch, or a norm that does not use the batch.",
            allowed=f"{least} to {available}" if available >= least else None,
        )


def _check_test_set(spec: "JobSpec", site: Site) -> None:
    """A norm that has nothing but the batch in eval mode too has enough values of each channel in the test set.

    The training subset on which the modes are compared holds two samples, or a whole batch.
    """
    least, available = norms()[site.norm].values_per_channel, spec.dataset.info.test_samples
    samples = spec.dataset.test_samples
    if not getattr(spec.norm, "track", True) and samples * site.positions < least:
        raise spec_error(
            "one_value_per_channel",
            "/dataset/test_limit",
            f"Without running averages eval mode uses batch statistics too. Norm '{site.norm}' needs at least "
            f"{least} values of each channel, and site {site.name} has {samples * site.positions} in all test "
            "samples. Take more of them, or leave out track: false.",
            allowed=f"{least} to {available}" if available >= least else None,
        )


def _check_chunks(spec: "JobSpec") -> None:
    """No chunk of a ghost batch is a single sample."""
    size = getattr(spec.norm, "size", None)
    if spec.norm.name != NormName.GHOST_BATCH or size is None or spec.batch_size % size != 1:
        return
    near = [number for number in range(max(2, size - 3), size + 4) if spec.batch_size % number != 1]
    way = (
        f"Take chunks of {_either(near)}, or change batch_size" if near else "Take a larger batch, or norm 'batch'"
    )
    raise spec_error(
        "chunk_of_one",
        "/norm/size" if near else "/batch_size",
        f"Chunks of {size} leave a single sample of a batch of {spec.batch_size}. {way}.",
        allowed=near or f"2 to {spec.dataset.train_samples}",
    )
