"""What a data scientist tries first, by scikit-learn: forests and boosted trees, with their defaults, on one table."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.baselines.learners import Learner, boosting, forest, probabilities
    from werkbund.baselines.own import OwnModel, OwnNumbers, own_model, own_numbers
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["Learner", "OwnModel", "OwnNumbers", "boosting", "forest", "own_model", "own_numbers", "probabilities"]
