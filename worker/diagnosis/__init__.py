"""What the record of a job says about its normalization: rules over recorded numbers, free of torch."""
