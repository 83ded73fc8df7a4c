"""Experiments: what is declared, the cells that follow from it, and the jobs that they become."""
