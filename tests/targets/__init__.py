"""What the literature says, as trainings on real data: of one seed in seconds, with `--long` of every seed."""
