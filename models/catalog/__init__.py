"""What a job may name: networks, norms, activations and initializations; free of torch."""
