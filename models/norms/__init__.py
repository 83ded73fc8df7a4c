"""Normalization layers, one file for each family."""
