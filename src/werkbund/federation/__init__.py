"""A simulated run: from a configuration to parts, from parts to a run's folder, and going on after a stop."""

from werkbund.federation.account import Run
from werkbund.federation.job import SeedComparison, compare, resume, run

__all__ = ["Run", "SeedComparison", "compare", "resume", "run"]
