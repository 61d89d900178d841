"""A federation whose clients are elsewhere: the same rounds over a grid that reaches them, the same run folder."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.server.job import resume_deployed, run_deployed
    from werkbund.server.preflight import Check, Preflight
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["Check", "Preflight", "resume_deployed", "run_deployed"]
