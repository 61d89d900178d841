"""One client's work, and the same for a whole cohort at once."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.learner.counts import count_scores
    from werkbund.learner.models import (
        NETWORKS,
        ModelSpec,
        build_network,
        layout_of,
        load_weights,
        logits_of,
        weights_of,
    )
    from werkbund.learner.objective import (
        GradientRule,
        LocalObjective,
        LocalStep,
        MeanGradient,
        NoisedUnits,
        Proximal,
        UnitSum,
    )
    from werkbund.learner.plan import TrainingPlan
    from werkbund.learner.train import CohortTrainer, TrainedCohort
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "NETWORKS",
    "CohortTrainer",
    "GradientRule",
    "LocalObjective",
    "LocalStep",
    "MeanGradient",
    "ModelSpec",
    "NoisedUnits",
    "Proximal",
    "TrainedCohort",
    "TrainingPlan",
    "UnitSum",
    "build_network",
    "count_scores",
    "layout_of",
    "load_weights",
    "logits_of",
    "weights_of",
]
