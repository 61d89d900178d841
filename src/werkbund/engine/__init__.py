"""The server's loops: a round, a run, statistics; the grid that carries tasks; checkpoints."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.engine.asking import Check
    from werkbund.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from werkbund.engine.grid import Grid
    from werkbund.engine.inprocess import InProcessGrid, grid_in_process
    from werkbund.engine.local import LocalWork
    from werkbund.engine.personal import PersonalWork, parting_of
    from werkbund.engine.round import evaluate, evaluators, one_round, rounds, weights_from_client
    from werkbund.engine.schedule import RateSchedule
    from werkbund.engine.secured import SumTerms
    from werkbund.engine.stage import Personalised, WeightsStage, personalise
    from werkbund.engine.state import Rules, RunState, Strategy
    from werkbund.engine.statistics import Gathered, gather
    from werkbund.engine.worker import Handler, Worker
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Check",
    "Checkpoint",
    "Gathered",
    "Grid",
    "Handler",
    "InProcessGrid",
    "LocalWork",
    "PersonalWork",
    "Personalised",
    "RateSchedule",
    "Rules",
    "RunState",
    "Strategy",
    "SumTerms",
    "WeightsStage",
    "Worker",
    "evaluate",
    "evaluators",
    "gather",
    "grid_in_process",
    "load_checkpoint",
    "one_round",
    "parting_of",
    "personalise",
    "rounds",
    "save_checkpoint",
    "weights_from_client",
]
