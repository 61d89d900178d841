"""Methods of selection side by side, on the same data, at equal cost."""

from werkbund.bench.job import Benched, Listener, bench
from werkbund.bench.plan import SETTINGS, Plan, Trial, plan_of
from werkbund.bench.trial import Outcome

__all__ = ["SETTINGS", "Benched", "Listener", "Outcome", "Plan", "Trial", "bench", "plan_of"]
