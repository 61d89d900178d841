"""Federated learning for industrial predictive maintenance: plants learn together, data stays home.

Examples
--------
>>> import werkbund
>>> config = werkbund.check_config({"federation": {"rounds": 60}, "clients": {"count": 5}})
>>> config.federation.rounds, config.clients.count
(60, 5)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from werkbund._silence import keep_silent
from werkbund._version import __version__

if TYPE_CHECKING:
    from werkbund.config import Config, changed, check_config, load_config, to_toml
    from werkbund.core import FederationError
    from werkbund.federation import Run, SeedComparison, compare, resume, run
    from werkbund.model import TrainedModel, load_model
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
    "load_model",
    "resume",
    "run",
    "to_toml",
    "write_report",
]

_HOMES = {
    "FederationError": "core",
    "TrainedModel": "model",
    "load_model": "model",
    "write_report": "report",
    **dict.fromkeys(("Config", "changed", "check_config", "load_config", "to_toml"), "config"),
}

keep_silent()


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: Flower's processes need none, and PyTorch takes seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module 'werkbund' has no attribute {name!r}")
    return getattr(import_module(f"werkbund.{_HOMES.get(name, 'federation')}"), name)
