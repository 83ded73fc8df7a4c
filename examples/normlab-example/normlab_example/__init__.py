"""What one's own package adds to normlab: a norm, a network and a data set."""
