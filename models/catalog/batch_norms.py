"""Norms whose train mode uses the mini-batch and whose eval mode uses what was kept of it."""

from models.catalog.names import NormName
from models.catalog.records import Form, NormInfo

_RUNNING = "running averages of mean and variance"
_ONE_VALUE = "One value of a channel in a batch has no variance: refused."
_ACCUMULATION = (
    "With gradient accumulation each micro-batch is normalized alone, and moves the running averages once."
)
_MOMENTUM = "momentum is torch's, the weight of the newest batch; Keras's is one minus it."
_UNBIASED = (
    "Train mode divides by the biased variance and the running average keeps the unbiased one: "
    "even with momentum 1 both modes differ."
)

BATCH_NORMS = (
    NormInfo(
        name=NormName.BATCH,
        summary="Each channel by the mean and variance of the mini-batch.",
        formula=r"y = \gamma\,\frac{x - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}} + \beta",
        reference="Ioffe & Szegedy 2015 (arXiv 1502.03167), algorithms 1 and 2; torch.nn.BatchNorm2d",
        eval_mode=_RUNNING + "; batch statistics if track is false",
        pitfalls=(
            _MOMENTUM,
            _UNBIASED,
            _ONE_VALUE,
            _ACCUMULATION,
            "momentum null weighs every batch the same, a ragged last one too.",
        ),
        absorbs_bias=True,
        uses_batch=True,
        values_per_channel=2,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.SYNC_BATCH,
        summary="Batch normalization over the batches of all processes of a job. In one process it is `batch`.",
        formula=r"\mu = \frac{\sum_r \sum x_r}{\sum_r n_r},\quad "
        r"\sigma^2 = \frac{\sum_r \sum x_r^2}{\sum_r n_r} - \mu^2,\quad "
        r"y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta",
        reference="Ioffe & Szegedy 2015 (arXiv 1502.03167), algorithm 1, over the joined batch; "
        "torch.nn.SyncBatchNorm",
        eval_mode=_RUNNING,
        pitfalls=("In one process it is plain batch norm.", _MOMENTUM, _UNBIASED, _ACCUMULATION),
        absorbs_bias=True,
        uses_batch=True,
        values_per_channel=2,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.GHOST_BATCH,
        summary="Batch normalization of each chunk of the batch by itself.",
        formula=r"y = \gamma\,\frac{x - \mu_{B_k}}{\sqrt{\sigma_{B_k}^2 + \epsilon}} + \beta,\quad x \in B_k",
        reference="Hoffer et al. 2017 (arXiv 1705.08741), algorithm 1",
        eval_mode=_RUNNING + ", moved once by each chunk",
        pitfalls=(
            "A batch size that leaves a chunk of one sample is refused; in a ragged last batch that sample joins "
            "the chunk before it.",
            "What is recorded of train mode are the means over the chunks, weighted by their values.",
            _MOMENTUM,
            _UNBIASED,
            _ACCUMULATION,
        ),
        absorbs_bias=True,
        uses_batch=True,
        values_per_channel=2,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.BATCH_RENORM,
        summary="Batch normalization corrected towards the running averages, so that both modes agree.",
        formula=r"y = \gamma\left(\frac{x - \mu_B}{\sigma_B}\,r + d\right) + \beta,\quad "
        r"r = \mathrm{clip}_{[1/r_{max},\,r_{max}]}\frac{\sigma_B}{\sigma},\quad "
        r"d = \mathrm{clip}_{[-d_{max},\,d_{max}]}\frac{\mu_B - \mu}{\sigma},\quad "
        r"\mu, \sigma \text{ running}",
        reference="Ioffe 2017 (arXiv 1702.03275), algorithm 1 and section 4",
        eval_mode="running averages of mean and standard deviation (not of the variance)",
        pitfalls=(
            "No gradient flows through r and d.",
            "The paper's schedule ends at step 40,000; here it scales with the length of the job, so that a "
            "short one leaves its first phase too.",
            "eps stands inside the root: sigma = sqrt(var + eps).",
            _ONE_VALUE,
            _ACCUMULATION,
        ),
        absorbs_bias=True,
        uses_batch=True,
        values_per_channel=2,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.FROZEN_BATCH,
        summary="Batch normalization with fixed statistics, scale and shift.",
        formula=r"y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta,\quad "
        r"\mu, \sigma, \gamma, \beta \text{ constant}",
        reference="detectron2 and torchvision FrozenBatchNorm2d; Wu & Johnson 2021 (arXiv 2105.07576), FrozenBN",
        eval_mode="the same as train mode",
        pitfalls=(
            "Trained from scratch it is the identity (mean 0, variance 1).",
            "It stays frozen in train mode; merely calling eval() on a batch norm does not survive train().",
        ),
    ),
    NormInfo(
        name=NormName.NOISY_BATCH,
        summary="Batch normalization followed by noise whose mean and scale are drawn anew at every step.",
        formula=r"a = s\,\mathrm{BN}(x) + m,\quad m \sim U(\mu - r_\mu, \mu + r_\mu),\; "
        r"s \sim N(\sigma, r_\sigma^2),\; \mu \sim U(-n_\mu, n_\mu),\; \sigma \sim U(1, n_\sigma)",
        reference="Santurkar et al. 2018 (arXiv 1805.11604), appendix A, algorithm 1",
        eval_mode=_RUNNING + ", without noise; if normalize is false nothing but scale and shift",
        pitfalls=(
            "mu and sigma are drawn for each channel and step, m and s for each value.",
            "r_sigma is a standard deviation; the paper does not say which it means, nor what eval mode does.",
            "Only training has the noise: gap/train_mode and population statistics are measured without.",
            "With normalize false BN(x) is gamma x + beta, the paper's control: momentum and eps do nothing, and "
            "a bias before it stays.",
            _ONE_VALUE,
            _ACCUMULATION,
        ),
        absorbs_bias=True,
        absorbs_bias_if="normalize",
        uses_batch=True,
        values_per_channel=2,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.LP_BATCH,
        summary="Centred like batch normalization, divided by a mean absolute, quadratic or largest value.",
        formula=r"y = \gamma\,\frac{x - \mu_B}{s + \epsilon} + \beta,\quad "
        r"s = (E_B|x|^p)^{1/p} \text{ or, centred, } s = c_p\,(E_B|x - \mu_B|^p)^{1/p},\; c_1 = \sqrt{\pi/2}",
        reference="Santurkar et al. 2018 (arXiv 1805.11604), section 3.3 and appendix B; centred with p = 1: "
        "Hoffer et al. 2018 (arXiv 1803.01814), section 4.1",
        eval_mode="running averages of mean and scale",
        pitfalls=(
            "Uncentred (as Santurkar et al. have it) the scale is taken before the mean is subtracted: it grows "
            "with a bias before the norm, which therefore stays in the network.",
            "Only p = 1 has a factor, and only centred: for p = 2 and p = inf, c_p is 1.",
            "p = inf takes the largest value of the batch, which grows with the batch.",
            _MOMENTUM,
            "One value of a channel in a batch has no scale of its own: refused.",
            _ACCUMULATION,
        ),
        absorbs_bias=True,
        absorbs_bias_if="centered",
        uses_batch=True,
        values_per_channel=2,
        per_channel=2,
    ),
    NormInfo(
        name=NormName.EVONORM_B0,
        summary="Evolved norm and activation in one, with batch and instance variance.",
        formula=r"y = \gamma\,\frac{x}{\max\left(\sqrt{\sigma_B^2 + \epsilon},\; v\,x + "
        r"\sqrt{\sigma_{HW}^2 + \epsilon}\right)} + \beta",
        reference="Liu et al. 2020 (arXiv 2004.02967), layer EvoNorm-B0",
        eval_mode="a running average of the batch variance",
        pitfalls=(
            "It takes the place of norm and activation; where no activation follows, only scale and shift stay.",
            "Without positions (after a linear layer) the instance variance is 0.",
            _ACCUMULATION,
        ),
        form=Form.FUSED,
        uses_batch=True,
        values_per_channel=2,
        per_channel=2,
        fused_per_channel=1,
    ),
)
