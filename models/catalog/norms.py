"""The norms that come with normlab."""

from models.catalog.batch_norms import BATCH_NORMS
from models.catalog.names import NormName
from models.catalog.records import Form, Moments, NormInfo

_SAME = "the same as train mode"
_NOT_ATTENTION = "In a transformer the matrices of attention and patches stay as they are."
_WARM_UP = "Large learning rates need a warm-up at the start."

SAMPLE_NORMS = (
    NormInfo(
        name=NormName.LAYER,
        summary="Each sample by its own mean and variance, over all channels and positions or over the channels "
        "of each position.",
        formula=r"y = \gamma_c\,\frac{x - \mu_n}{\sqrt{\sigma_n^2 + \epsilon}} + \beta_c",
        reference="Ba, Kiros & Hinton 2016 (arXiv 1607.06450), equations 3 and 4; per pixel as in ConvNeXt, Liu "
        "et al. 2022 (arXiv 2201.03545); torch.nn.LayerNorm",
        eval_mode=_SAME,
        pitfalls=(
            "On images the two meanings differ: `over: sample` (C, H, W) or `over: channels` (each pixel).",
            "Scale and shift are learned for each channel, not for each position.",
        ),
        records=Moments.SAMPLE,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.RMS,
        summary="Each sample by its root mean square; nothing is subtracted.",
        formula=r"y = \gamma_c\,\frac{x}{\sqrt{E_n[x^2] + \epsilon}}",
        reference="Zhang & Sennrich 2019 (arXiv 1910.07467), equation 4; torch.nn.RMSNorm",
        eval_mode=_SAME,
        pitfalls=("eps null is the smallest step of the number type at 1 (torch's default).",),
        records=Moments.SAMPLE,
        per_channel=1,
    ),
    NormInfo(
        name=NormName.INSTANCE,
        summary="Each channel of each sample by its own mean and variance.",
        formula=r"y = \gamma_c\,\frac{x - \mu_{nc}}{\sqrt{\sigma_{nc}^2 + \epsilon}} + \beta_c",
        reference="Ulyanov et al. 2016 (arXiv 1607.08022), equation 3; torch.nn.InstanceNorm2d",
        eval_mode=_SAME,
        pitfalls=("One value of a channel in a sample (1x1 maps, linear layers) becomes 0: refused.",),
        absorbs_bias=True,
        positions=2,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.GROUP,
        summary="Each group of channels of each sample by its own mean and variance.",
        formula=r"y = \gamma_c\,\frac{x - \mu_{ng}}{\sqrt{\sigma_{ng}^2 + \epsilon}} + \beta_c",
        reference="Wu & He 2018 (arXiv 1803.08494), equations 1, 2 and 7; torch.nn.GroupNorm",
        eval_mode=_SAME,
        pitfalls=(
            "The channels of every site must be divisible by groups; the paper's 32 is too many for narrow nets.",
            "A group of one value (one channel, one position) becomes 0: refused.",
        ),
        records=Moments.GROUPS,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.LOCAL_RESPONSE,
        summary="Each value by the energy of the channels beside it.",
        formula=r"y_c = x_c \Big/ "
        r"\left(k + \tfrac{\alpha}{s}\textstyle\sum_{c'=c-\lfloor s/2 \rfloor}^{c+\lceil s/2 \rceil-1} x_{c'}^2"
        r"\right)^{\beta},\quad s \text{ neighbours}",
        reference="Krizhevsky et al. 2012 (ImageNet classification with deep convolutional networks), section "
        "3.3; torch.nn.LocalResponseNorm",
        eval_mode=_SAME,
        pitfalls=("torch divides alpha by the size s; the paper does not.",),
        positions=1,
    ),
    NormInfo(
        name=NormName.FILTER_RESPONSE,
        summary="Each channel of each sample by its mean square, then a learned threshold in place of the "
        "activation.",
        formula=r"y = \max\left(\gamma\,\frac{x}{\sqrt{\nu^2 + \epsilon}} + \beta,\; \tau\right),\quad "
        r"\nu^2 = E_{HW}[x^2]",
        reference="Singh & Krishnan 2020 (arXiv 1911.09737), sections on FRN and TLU",
        eval_mode=_SAME,
        pitfalls=(
            "It takes the place of norm and activation; where no activation follows, it has no threshold.",
            "On one value (1x1 maps, linear layers) it leaves little but the sign: refused.",
            _WARM_UP,
        ),
        form=Form.FUSED,
        positions=2,
        per_channel=2,
        fused_per_channel=1,
    ),
    NormInfo(
        name=NormName.EVONORM_S0,
        summary="Evolved norm and activation in one, with the variance of groups of channels of each sample.",
        formula=r"y = \gamma\,\frac{x\,\mathrm{sigmoid}(v\,x)}{\sqrt{\sigma_{ng}^2 + \epsilon}} + \beta",
        reference="Liu et al. 2020 (arXiv 2004.02967), layer EvoNorm-S0",
        eval_mode=_SAME,
        pitfalls=(
            "It takes the place of norm and activation; where no activation follows, only scale and shift stay.",
            "The channels of every site must be divisible by groups.",
        ),
        form=Form.FUSED,
        records=Moments.GROUPS,
        per_channel=2,
        fused_per_channel=1,
    ),
)

OTHERS = (
    NormInfo(
        name=NormName.NONE,
        summary="No normalization; an identity stands at each site, so that the same records are kept.",
        formula="y = x",
        reference="torch.nn.Identity",
        eval_mode=_SAME,
    ),
    NormInfo(
        name=NormName.WEIGHT_STANDARDIZATION,
        summary="Each filter's weights by their mean and standard deviation; with group norm at the sites if "
        "groups is given.",
        formula=r"\hat W_c = \frac{W_c - E[W_c]}{\sqrt{\mathrm{Var}[W_c] + \epsilon}}",
        reference="Qiao et al. 2019 (arXiv 1903.10520), definition of weight standardization",
        eval_mode=_SAME,
        pitfalls=("Made for use with group norm; alone it does not bound the activations.", _NOT_ATTENTION),
        form=Form.WEIGHT,
        records=Moments.GROUPS,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.WEIGHT,
        summary="Each filter's weights as a direction and a learned length.",
        formula=r"W_c = g_c\,\frac{v_c}{\lVert v_c \rVert}",
        reference="Salimans & Kingma 2016 (arXiv 1602.07868), equation 2; "
        "torch.nn.utils.parametrizations.weight_norm",
        eval_mode=_SAME,
        pitfalls=(
            "The paper's initialization from data is not done: g begins at the length of the weights.",
            _NOT_ATTENTION,
        ),
        form=Form.WEIGHT,
    ),
    NormInfo(
        name=NormName.SPECTRAL,
        summary="Weights divided by their largest singular value, by power iteration.",
        formula=r"\hat W = W / \sigma_{max}(W),\quad \sigma_{max} \approx u^\top W v",
        reference="Miyato et al. 2018 (arXiv 1802.05957), algorithm 1; "
        "torch.nn.utils.parametrizations.spectral_norm",
        eval_mode="the vectors u and v as the last training step left them",
        pitfalls=(
            "Train mode goes on with the power iteration at each forward pass: the modes differ until u and v "
            "have settled.",
            _NOT_ATTENTION,
        ),
        form=Form.WEIGHT,
    ),
    NormInfo(
        name=NormName.DYT,
        summary="Dynamic tanh: a squashing function in place of a norm.",
        formula=r"y = \gamma\,\tanh(\alpha x) + \beta",
        reference="Zhu et al. 2025 (arXiv 2503.10622), equation 2 and algorithm 1",
        eval_mode=_SAME,
        pitfalls=("Made for the sites of layer norm in transformers; it computes no statistics.",),
        per_channel=2,
        per_site=1,
    ),
    NormInfo(
        name=NormName.SKIP_INIT,
        summary="No norm; each residual branch is multiplied by a learned scalar that begins at 0.",
        formula=r"y = x + \alpha\,f(x),\quad \alpha_0 = 0",
        reference="De & Smith 2020 (arXiv 2002.10444), SkipInit; as ReZero, Bachlechner et al. 2020 (arXiv "
        "2003.04887)",
        eval_mode=_SAME,
        pitfalls=("Only for networks with residual branches.",),
        form=Form.RESIDUAL,
    ),
)

NORMS: dict[str, NormInfo] = {
    name.value: next(info for info in (*OTHERS, *BATCH_NORMS, *SAMPLE_NORMS) if info.name == name)
    for name in NormName
}
