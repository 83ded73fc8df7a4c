"""Functions that return the blueprint of a network."""
