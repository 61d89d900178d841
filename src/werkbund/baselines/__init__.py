"""What a data scientist tries first, by scikit-learn: forests and boosted trees, with their defaults, on one table."""

from werkbund.baselines.learners import Learner, boosting, forest, probabilities
from werkbund.baselines.own import OwnModel, OwnNumbers, own_model, own_numbers

__all__ = ["Learner", "OwnModel", "OwnNumbers", "boosting", "forest", "own_model", "own_numbers", "probabilities"]
