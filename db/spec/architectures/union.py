"""All networks as one type, chosen by name: those that come with normlab and those of installed packages."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from db.spec.architectures.base import ArchitecturePart
from db.spec.architectures.cnn import Cnn
from db.spec.architectures.densenet import Densenet
from db.spec.architectures.inception import Inception
from db.spec.architectures.mlp import Mlp
from db.spec.architectures.recurrent import Gru, Lstm
from db.spec.architectures.resnet import Resnet
from db.spec.architectures.sequential import Sequential
from db.spec.architectures.transformer import Transformer
from db.spec.architectures.vgg import Vgg
from models.catalog.registry import architecture_plugins

PARTS: tuple[type[ArchitecturePart], ...] = (
    Mlp,
    Cnn,
    Vgg,
    Resnet,
    Densenet,
    Inception,
    Lstm,
    Gru,
    Transformer,
    Sequential,
    *(plugin.spec for plugin in architecture_plugins().values()),
)

if TYPE_CHECKING:
    Architecture = ArchitecturePart
else:
    Architecture = Annotated[Union[PARTS], Field(discriminator="name")]  # noqa: UP007  # made at run time
