"""Measurements on a frozen copy of a run's state."""
