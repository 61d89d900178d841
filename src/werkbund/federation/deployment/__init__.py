"""A federation whose clients are elsewhere: the same rounds over a grid that reaches them, the same run folder."""

from werkbund.federation.deployment.job import resume_deployed, run_deployed
from werkbund.federation.deployment.preflight import Check, Preflight
from werkbund.federation.deployment.reach import BriefedGrid

__all__ = ["BriefedGrid", "Check", "Preflight", "resume_deployed", "run_deployed"]
