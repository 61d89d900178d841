"""Methods of selection side by side at equal cost, and rules of aggregation under attack, on the same data."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.bench.cases import Outcome
    from werkbund.bench.defences import AttackPlan, attack_plan
    from werkbund.bench.job import Benched, bench
    from werkbund.bench.matrix import bench_defences
    from werkbund.bench.plan import SETTINGS, Case, Plan, plan_of
    from werkbund.bench.runs import Listener
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "SETTINGS",
    "AttackPlan",
    "Benched",
    "Case",
    "Listener",
    "Outcome",
    "Plan",
    "attack_plan",
    "bench",
    "bench_defences",
    "plan_of",
]
