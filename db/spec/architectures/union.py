"""All networks as one type, chosen by name: those that come with normlab and those of installed packages."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from db.spec.architectures.base import ArchitecturePart
from db.spec.architectures.cnn import Cnn
from db.spec.architectures.mlp import Mlp
from models.catalog.registry import architecture_plugins

PARTS: tuple[type[ArchitecturePart], ...] = (
    Mlp,
    Cnn,
    *(plugin.spec for plugin in architecture_plugins().values()),
)

if TYPE_CHECKING:
    Architecture = ArchitecturePart
else:
    Architecture = Annotated[Union[PARTS], Field(discriminator="name")]  # noqa: UP007  # made at run time
