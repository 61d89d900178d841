"""Measurements behind every figure in the documentation; each module runs alone with `python -m benchmarks.<name>`."""
