"""Which networks, norms and batches go together. Each rule names the field, what is allowed, and the way out."""

from collections.abc import Sequence
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING

from db.spec.errors import spec_error
from models.blueprint import Blueprint
from models.catalog.names import Position
from models.catalog.records import Moments
from models.catalog.registry import architectures, norms
from models.shapes import ShapeError, Site, layers, sites

if TYPE_CHECKING:
    from db.spec.job import JobSpec


def check_norm(spec: "JobSpec") -> None:
    """The network takes the norm, at that position."""
    network, name = architectures()[spec.architecture.name], str(spec.norm.name)
    if name not in network.norms:
        raise spec_error(
            "norm_not_taken",
            "/norm/name",
            f"A network '{network.name}' takes no norm {name!r}.",
            allowed=list(network.norms),
        )
    position = getattr(spec.norm, "position", Position.AUTO)
    allowed = [Position.AUTO.value, *(each.value for each in network.positions)]
    if position.value not in allowed:
        raise spec_error(
            "position_not_taken",
            "/norm/position",
            f"A network '{network.name}' has no norm {position.value!r}.",
            allowed=allowed,
            given=position.value,
        )


def check_shapes(spec: "JobSpec") -> Blueprint:
    """The network takes the data, every layer what comes before it, and it ends in the classes of the data."""
    blueprint = spec.blueprint()
    try:
        output = layers(blueprint)[-1].output
    except ShapeError as error:
        raise spec_error("shape_mismatch", spec.architecture.pointer(error.name), f"{error}.") from error
    if output != (blueprint.outputs,):
        raise spec_error(
            "shape_mismatch",
            spec.architecture.pointer(layers(blueprint)[-1].name),
            f"The network ends in {list(output)}; the {blueprint.outputs} classes of the data need "
            f"[{blueprint.outputs}].",
            allowed=[blueprint.outputs],
        )
    return blueprint


def check_sites(spec: "JobSpec", blueprint: Blueprint) -> None:
    """Every site has the values that its norm needs."""
    found = sites(blueprint)
    _check_groups(spec, found)
    for site in found:
        _check_sample(spec, site)
        _check_batch(spec, site)
    _check_chunks(spec)


def _check_groups(spec: "JobSpec", found: Sequence[Site]) -> None:
    groups = getattr(spec.norm, "groups", None)
    bad = next((site for site in found if groups and site.channels % groups), None)
    if bad is None:
        return
    common = reduce(gcd, (site.channels for site in found))
    divisors = [number for number in range(1, common + 1) if common % number == 0]
    raise spec_error(
        "channels_not_divisible",
        "/norm/groups",
        f"The {bad.channels} channels of site {bad.name} are not divisible by {groups} groups; those of every "
        f"site are divisible by {', '.join(map(str, divisors))}.",
        allowed=divisors,
    )


def _check_sample(spec: "JobSpec", site: Site) -> None:
    """A norm over values of one sample has more than one there."""
    info = norms()[site.norm]
    if site.positions < info.positions and not site.tokens:
        others = [name for name in architectures()[spec.architecture.name].norms if norms()[name].positions == 1]
        raise spec_error(
            "one_value_per_channel",
            "/norm/name",
            f"Norm '{site.norm}' needs at least {info.positions} values of each channel in a sample, and site "
            f"{site.name} has {site.positions}. Choose another norm, or a network with larger maps there.",
            allowed=others,
        )
    positions = 1 if getattr(spec.norm, "over", None) == "channels" or site.tokens else site.positions
    if info.records is not Moments.CHANNELS and site.channels // site.moments * positions < 2:
        groups = getattr(spec.norm, "groups", None)
        raise spec_error(
            "one_value_per_group",
            "/norm/groups" if groups else "/norm/name",
            f"At site {site.name} norm '{site.norm}' would normalize single values, which all become 0. Choose "
            f"{'fewer groups, ' if groups else ''}a wider layer or another norm.",
            allowed=f"1 to {site.channels * positions // 2}" if groups and site.channels > 1 else None,
        )


def _check_batch(spec: "JobSpec", site: Site) -> None:
    """A norm over the batch has enough values of each channel."""
    least = norms()[site.norm].values_per_channel
    if spec.batch_size * site.positions < least:
        raise spec_error(
            "one_value_per_channel",
            "/batch_size",
            f"Norm '{site.norm}' needs at least {least} values of each channel in a batch.",
            allowed=f"{least} to {spec.dataset.train_samples}",
        )


def _check_chunks(spec: "JobSpec") -> None:
    """No chunk of a ghost batch is a single sample."""
    size = getattr(spec.norm, "size", None)
    if str(spec.norm.name) != "ghost_batch" or size is None or spec.batch_size % size != 1:
        return
    fitting = [number for number in range(2, spec.batch_size + 1) if spec.batch_size % number != 1]
    near = sorted(sorted(fitting, key=lambda number: abs(number - size))[:5])
    raise spec_error(
        "chunk_of_one",
        "/norm/size",
        f"Chunks of {size} leave a single sample of a batch of {spec.batch_size}, which has no variance. Sizes "
        f"near it that do not: {', '.join(map(str, near)) or 'none'}; or change batch_size.",
        allowed=near or None,
    )
