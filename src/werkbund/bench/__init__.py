"""Methods of selection side by side, on the same data, at equal cost."""

from werkbund.bench.cases import Outcome
from werkbund.bench.job import Benched, Listener, bench
from werkbund.bench.plan import SETTINGS, Case, Plan, plan_of

__all__ = ["SETTINGS", "Benched", "Case", "Listener", "Outcome", "Plan", "bench", "plan_of"]
