"""The catalogue: what comes with normlab and what installed packages add by entry points."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar

from models.catalog.architectures import ARCHITECTURES
from models.catalog.norms import NORMS
from models.catalog.records import ArchitectureInfo, ArchitecturePlugin, NormInfo, NormPlugin

T = TypeVar("T")


class PluginError(Exception):
    """An installed package offers something that cannot be used; it is named, and nothing starts."""

    def __init__(self, group: str, name: str, reason: str) -> None:
        super().__init__(f"Entry point {name!r} of the group {group!r} cannot be used: {reason}.")


def load_plugins(group: str, kind: type[T], taken: Iterable[str]) -> dict[str, T]:
    """What installed packages offer in a group of entry points, by name.

    Raises:
        PluginError: one cannot be imported, is of another kind, or has a name that is in use.
    """
    found: dict[str, T] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            plugin = point.load()
        except Exception as error:  # whatever the package's own code raises
            raise PluginError(group, point.name, f"{type(error).__name__}: {error}") from error
        if not isinstance(plugin, kind):
            raise PluginError(group, point.name, f"it is no {kind.__name__}")
        name = plugin.info.name  # type: ignore[attr-defined]  # every kind of plugin has its info
        if name != point.name or name in found or name in taken:
            raise PluginError(group, point.name, f"the name {name!r} is in use, or is not the entry point's")
        found[name] = plugin
    return found


@cache
def norm_plugins() -> Mapping[str, NormPlugin]:
    """Norms of installed packages."""
    return load_plugins("normlab.norms", NormPlugin, NORMS)


@cache
def architecture_plugins() -> Mapping[str, ArchitecturePlugin]:
    """Networks of installed packages."""
    return load_plugins("normlab.architectures", ArchitecturePlugin, ARCHITECTURES)


@cache
def norms() -> Mapping[str, NormInfo]:
    """All norms by name."""
    return NORMS | {name: plugin.info for name, plugin in norm_plugins().items()}


@cache
def architectures() -> Mapping[str, ArchitectureInfo]:
    """All networks by name, each with the norms that installed packages add to it."""
    known = ARCHITECTURES | {name: plugin.info for name, plugin in architecture_plugins().items()}
    return {name: replace(info, norms=info.norms + _added_norms(name)) for name, info in known.items()}


def _added_norms(architecture: str) -> tuple[str, ...]:
    return tuple(name for name, plugin in norm_plugins().items() if architecture in plugin.architectures)
