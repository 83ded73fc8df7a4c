"""All presets by name, in the order in which they are listed."""

from collections.abc import Mapping

from db.presets.balestriero2022 import BALESTRIERO2022_GEOMETRY
from db.presets.depth import DEPTH
from db.presets.initialization import INITIALIZATION
from db.presets.ioffe2015_learning_rate import IOFFE2015_LEARNING_RATE
from db.presets.ioffe2015_mnist import IOFFE2015_MNIST
from db.presets.placement import PLACEMENT
from db.presets.records import Preset
from db.presets.recurrent import RECURRENT
from db.presets.regularization import REGULARIZATION
from db.presets.santurkar2018 import SANTURKAR2018_LP, SANTURKAR2018_NOISE
from db.presets.santurkar2018_probes import SANTURKAR2018_COVARIATE_SHIFT, SANTURKAR2018_LANDSCAPE
from db.presets.schedulers import SCHEDULERS
from db.presets.small_batches import HOFFER2017_GHOST, IOFFE2017_RENORM
from db.presets.wu2018 import WU2018_BATCH_SIZE
from db.presets.wu2021 import WU2021_PRECISE

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        IOFFE2015_MNIST,
        IOFFE2015_LEARNING_RATE,
        SANTURKAR2018_NOISE,
        SANTURKAR2018_LANDSCAPE,
        SANTURKAR2018_COVARIATE_SHIFT,
        SANTURKAR2018_LP,
        BALESTRIERO2022_GEOMETRY,
        WU2018_BATCH_SIZE,
        WU2021_PRECISE,
        IOFFE2017_RENORM,
        HOFFER2017_GHOST,
        PLACEMENT,
        DEPTH,
        REGULARIZATION,
        INITIALIZATION,
        RECURRENT,
        SCHEDULERS,
    )
}
