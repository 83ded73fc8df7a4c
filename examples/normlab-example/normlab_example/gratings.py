"""The data set `gratings`: what the catalogue says of it. Free of what only workers need."""

from db.datasets import DatasetInfo, DatasetPlugin

PLUGIN = DatasetPlugin(
    info=DatasetInfo(
        name="gratings",
        summary="16x16 grey images of noisy stripes; the class is their direction, one of eight.",
        source="normlab-example; computed, the same images every time",
        shape=(1, 16, 16),
        outputs=8,
        train_samples=1600,
        test_samples=400,
        largest_value=255,
        mean=(0.5,),
        std=(0.2281,),
    ),
    load="normlab_example.gratings_images:load",
)
