"""Data sets: sources, the decoded cache, and what a job indexes."""
