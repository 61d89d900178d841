"""Federated learning for industrial predictive maintenance: plants learn together, data stays home.

Examples
--------
>>> import werkbund
>>> config = werkbund.check_config({"federation": {"rounds": 60}, "clients": {"count": 5}})
>>> config.federation.rounds, config.clients.count
(60, 5)
"""

from werkbund._version import __version__
from werkbund.core import FederationError
from werkbund.federation import (
    Config,
    Run,
    SeedComparison,
    changed,
    check_config,
    compare,
    load_config,
    resume,
    run,
    to_toml,
)
from werkbund.model import TrainedModel
from werkbund.report import write_report

__all__ = [
    "Config",
    "FederationError",
    "Run",
    "SeedComparison",
    "TrainedModel",
    "__version__",
    "changed",
    "check_config",
    "compare",
    "load_config",
    "resume",
    "run",
    "to_toml",
    "write_report",
]
