"""A federation whose clients are elsewhere: the same rounds over a grid that reaches them, the same run folder."""

from werkbund.server.job import resume_deployed, run_deployed
from werkbund.server.preflight import Check, Preflight

__all__ = ["Check", "Preflight", "resume_deployed", "run_deployed"]
