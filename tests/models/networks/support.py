"""Networks of images to test with: every size and form with few channels, and norms of every form."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.architectures import ARCHITECTURES
from models.catalog.names import ActivationName, InitName
from models.kinds.containers import Residual
from models.kinds.layers import Activation, Conv, Flatten, Linear, Pool
from models.networks.cnn import cnn
from models.networks.densenet import densenet
from models.networks.inception import inception
from models.networks.mlp import mlp
from models.networks.resnet import resnet
from models.networks.sequential import INFERRED, SITE, declared, sequential
from models.networks.vgg import vgg

Network = Callable[..., Blueprint]

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)
#: Gradients and outputs of deep networks are large enough to compare with this.
KAIMING = Init(name=InitName.KAIMING_NORMAL)


def of(network, input_shape=CIFAR, **options) -> Network:
    """The network with everything given but its norm."""
    return partial(network, input_shape, 10, init=KAIMING, **options)


#: Every size and form with few channels, all of them even.
SMALL: dict[str, Network] = {
    **{f"vgg-{depth}": of(vgg, depth=depth, width=4) for depth in (11, 13, 16, 19)},
    "vgg-11-imagenet": of(vgg, (1, 65, 40), depth=11, width=4, form="imagenet"),
    "resnet-8": of(resnet, depth=8, width=4),
    "resnet-20": of(resnet, (1, 13, 10), depth=20, width=4),
    "resnet-14-projection": of(resnet, depth=14, width=4, shortcut="projection"),
    **{f"resnet-{depth}": of(resnet, (3, 61, 48), depth=depth, width=4) for depth in (18, 34, 50)},
    "resnet-50-zero-pad": of(resnet, depth=50, width=4, form="imagenet", shortcut="zero_pad"),
    "densenet-13": of(densenet, (3, 15, 18), depth=13, growth=4),
    "densenet-13-dropout": of(densenet, depth=13, growth=8, dropout=0.2, compression=0.5),
    "densenet-22-bottleneck": of(densenet, depth=22, growth=8, bottleneck=True),
    "densenet-121": of(densenet, (3, 64, 80), depth=121, growth=4),
    "inception": of(inception, width=0.1, dropout=0.1),
    "inception-imagenet": of(inception, (3, 75, 64), form="imagenet", width=0.1),
}
FULL: dict[str, Network] = {
    "vgg-16": of(vgg, IMAGENET, depth=16, form="imagenet"),
    "resnet-50": of(resnet, IMAGENET, depth=50),
    "densenet-121": of(densenet, IMAGENET, depth=121),
    "inception": of(inception, IMAGENET, form="imagenet"),
}
#: One of each family, for what takes longer.
FAMILIES: dict[str, Network] = {
    "vgg": of(vgg, depth=11, width=8),
    "resnet": of(resnet, depth=14, width=8),
    "resnet-imagenet": of(resnet, (3, 64, 64), depth=18, width=8),
    "densenet": of(densenet, depth=22, growth=8, bottleneck=True),
    "inception": of(inception, width=0.125),
}
_RELU = Activation(activation=ActivationName.RELU)
_CONV = Conv(inputs=INFERRED, outputs=8, kernel=3, padding=1)
#: Those whose layers a spec lists.
LISTED: dict[str, Network] = {
    "mlp": of(mlp, hidden=(32, 16)),
    "cnn": of(cnn, channels=(8, 16)),
    "sequential": of(
        sequential,
        layers=[
            _CONV,
            SITE,
            _RELU,
            Residual(branch=declared([_CONV, SITE, _RELU])),
            Pool(pool="avg", kernel=4, stride=4),
            Flatten(),
            Linear(inputs=INFERRED, outputs=10),
        ],
    ),
}
NORMS = {
    "batch": NormChoice(name="batch"),
    "none": NormChoice(name="none"),
    "group": NormChoice(name="group", options=(("groups", 2),)),
    "evonorm_s0": NormChoice(name="evonorm_s0", options=(("groups", 2),)),
    "weight": NormChoice(name="weight"),
    "weight_standardization": NormChoice(name="weight_standardization", options=(("groups", 2), ("eps", 1e-5))),
    "skip_init": NormChoice(name="skip_init"),
}

#: Of each network every norm above that it takes.
ADMITTED = {
    f"{label}-{name}": network(norm=norm)
    for label, network in SMALL.items()
    for name, norm in NORMS.items()
    if name in ARCHITECTURES[label.split("-")[0]].norms
}


def outputs_by_name(module: nn.Module, names: list[str], x: Tensor) -> dict[str, Tensor]:
    """What each of the layers gives for a batch that runs through, which ends in one number for each class."""
    found: dict[str, Tensor] = {}
    for name in names:
        hook = partial(lambda name, _, __, y: found.update({name: y.detach()}), name)
        module.get_submodule(name).register_forward_hook(hook)
    assert module(x).shape == (len(x), 10)
    return found
