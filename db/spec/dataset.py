"""Which data a job trains on."""

from db.datasets import DATASETS, DatasetInfo, DatasetName
from db.spec.base import Count, Flag, Part


class Dataset(Part):
    """A data set and what is done to it before training."""

    name: DatasetName
    binarize: Flag = False
    """Set values of at least half the largest to 1, the others to 0."""
    train_limit: Count | None = None
    """Train on this many samples, the same fixed choice for every job; null for all."""

    @property
    def info(self) -> DatasetInfo:
        return DATASETS[self.name]

    @property
    def train_samples(self) -> int:
        """Training samples that the job sees."""
        return min(self.train_limit or self.info.train_samples, self.info.train_samples)
