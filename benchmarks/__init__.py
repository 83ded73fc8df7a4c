"""Measurements of the service against the best that the same libraries can do; `python -m benchmarks.<name>`."""

import os

# Read when torch is first imported, which every module here does later.
os.environ.setdefault("OMP_NUM_THREADS", "1")
