"""The networks that come with normlab."""

from models.catalog.names import Architecture, NormName, Position
from models.catalog.records import ArchitectureInfo

_BOTH = (Position.BEFORE_ACTIVATION, Position.AFTER_ACTIVATION)

#: Norms of fully connected layers: one value of each channel in a sample.
_LINEAR = tuple(
    name.value
    for name in NormName
    if name not in (NormName.INSTANCE, NormName.FILTER_RESPONSE, NormName.SKIP_INIT)
)
_CONVOLUTIONAL = tuple(name.value for name in NormName if name is not NormName.SKIP_INIT)
_RESIDUAL = tuple(name.value for name in NormName)
_RECURRENT = (NormName.NONE.value, NormName.BATCH.value, NormName.LAYER.value, NormName.RMS.value)
#: Norms of tokens: over the features of each, or over all tokens of the batch.
_TOKENS = tuple(
    name.value
    for name in (
        NormName.LAYER,
        NormName.NONE,
        NormName.RMS,
        NormName.DYT,
        NormName.BATCH,
        NormName.GROUP,
        NormName.WEIGHT,
        NormName.SPECTRAL,
        NormName.WEIGHT_STANDARDIZATION,
        NormName.SKIP_INIT,
    )
)

_INFOS = (
    ArchitectureInfo(
        name=Architecture.MLP,
        summary="Fully connected layers: flatten, then linear, norm and activation for each hidden size, then a "
        "linear output.",
        reference="Ioffe & Szegedy 2015 (arXiv 1502.03167), section 4.1: hidden [100, 100, 100], sigmoid; with "
        "activation linear the deep linear network of Santurkar et al. 2018 (arXiv 1805.11604), appendix A",
        norms=_LINEAR,
        positions=_BOTH,
    ),
    ArchitectureInfo(
        name=Architecture.CNN,
        summary="A few 3x3 convolutions, each with norm, activation and pooling, then a linear output.",
        reference="The plain stack of LeCun et al. 1998, with 3x3 kernels and global average pooling (Lin et al. "
        "2013, arXiv 1312.4400)",
        norms=_CONVOLUTIONAL,
        positions=_BOTH,
    ),
    ArchitectureInfo(
        name=Architecture.VGG,
        summary="Stacks of 3x3 convolutions between max poolings: 11, 13, 16 or 19 layers, in the ImageNet or the "
        "CIFAR form.",
        reference="Simonyan & Zisserman 2014 (arXiv 1409.1556), table 1, columns A, B, D and E",
        norms=_CONVOLUTIONAL,
        positions=_BOTH,
    ),
    ArchitectureInfo(
        name=Architecture.RESNET,
        summary="Residual network: 6n+2 layers for CIFAR-sized images; 18, 34 or 50 for ImageNet-sized ones.",
        reference="He et al. 2015 (arXiv 1512.03385), sections 3.3, 4.1 (table 1) and 4.2 (shortcut option A)",
        norms=_RESIDUAL,
        positions=_BOTH,
    ),
    ArchitectureInfo(
        name=Architecture.DENSENET,
        summary="Every layer sees the outputs of all layers of its block; 3n+4 or 6n+4 layers for CIFAR-sized "
        "images, or 121. Norm and activation stand before each convolution.",
        reference="Huang et al. 2016 (arXiv 1608.06993), sections 3 and 4.2, table 1",
        norms=_CONVOLUTIONAL,
        positions=_BOTH,
    ),
    ArchitectureInfo(
        name=Architecture.INCEPTION,
        summary="The BN-Inception of the batch-normalization paper, with one output; for 224x224 images or scaled "
        "to 32x32.",
        reference="Ioffe & Szegedy 2015 (arXiv 1502.03167), section 4.2 and figure 5",
        norms=_CONVOLUTIONAL,
        positions=_BOTH,
    ),
    ArchitectureInfo(
        name=Architecture.LSTM,
        summary="Long short-term memory over the rows of an image; batch norm keeps statistics of each time step.",
        reference="Hochreiter & Schmidhuber 1997; layer norm: Ba et al. 2016 (arXiv 1607.06450), equations 20 to "
        "22; batch norm: Cooijmans et al. 2016 (arXiv 1603.09025), equations 6 to 8",
        norms=_RECURRENT,
        positions=(),
    ),
    ArchitectureInfo(
        name=Architecture.GRU,
        summary="Gated recurrent units over the rows of an image; batch norm keeps statistics of each time step.",
        reference="Cho et al. 2014 (arXiv 1406.1078); layer norm: Ba et al. 2016 (arXiv 1607.06450), supplement, "
        "GRU; batch norm at the same places, after Cooijmans et al. 2016 (arXiv 1603.09025)",
        norms=_RECURRENT,
        positions=(),
    ),
    ArchitectureInfo(
        name=Architecture.TRANSFORMER,
        summary="Transformer encoder over the patches or the rows of an image, with the mean of the tokens as its "
        "output.",
        reference="Vaswani et al. 2017 (arXiv 1706.03762); patches: Dosovitskiy et al. 2020 (arXiv 2010.11929); "
        "norm_first: Xiong et al. 2020 (arXiv 2002.04745)",
        norms=_TOKENS,
        positions=(Position.NORM_FIRST, Position.NORM_LAST),
    ),
    ArchitectureInfo(
        name=Architecture.SEQUENTIAL,
        summary="Layers that the spec declares: linear, conv, pool, activation, norm, dropout, flatten and "
        "residual blocks.",
        reference="torch.nn, whose layers they are",
        norms=_RESIDUAL,
        positions=_BOTH,
    ),
)

ARCHITECTURES: dict[str, ArchitectureInfo] = {info.name: info for info in _INFOS}
