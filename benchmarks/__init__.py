"""Side-by-side speed and accuracy against peers: ``python -m benchmarks``."""
