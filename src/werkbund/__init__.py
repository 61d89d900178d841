"""Federated learning for industrial predictive maintenance: plants learn together, data stays home.

Examples
--------
>>> import werkbund
>>> config = werkbund.check_config({"federation": {"rounds": 60}, "clients": {"count": 5}})
>>> config.federation.rounds, config.clients.count
(60, 5)
"""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names
from werkbund._silence import keep_silent
from werkbund._version import __version__

if TYPE_CHECKING:
    from werkbund.config import Config, changed, check_config, load_config, to_toml
    from werkbund.core import FederationError
    from werkbund.estimator import FederatedClassifier
    from werkbund.federation import Run, SeedComparison, compare, resume, run
    from werkbund.model import TrainedModel, load_model
    from werkbund.report import write_report
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Config",
    "FederatedClassifier",
    "FederationError",
    "Run",
    "SeedComparison",
    "TrainedModel",
    "__version__",
    "changed",
    "check_config",
    "compare",
    "load_config",
    "load_model",
    "resume",
    "run",
    "to_toml",
    "write_report",
]

keep_silent()
