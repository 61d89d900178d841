"""A simulated run: from a configuration to parts, from parts to a run's folder, and going on after a stop."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.federation.account import Run
    from werkbund.federation.job import SeedComparison, compare, resume, run
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["Run", "SeedComparison", "compare", "resume", "run"]
