"""The job spec, one file for each part."""
