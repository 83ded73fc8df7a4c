"""Which normalization a job uses: one part for each norm, its options as the layer takes them."""
