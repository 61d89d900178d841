"""Readable findings about a table, before anything is trained."""

from werkbund.data.checks.check import CHECKS, check
from werkbund.data.checks.finding import Finding

__all__ = ["CHECKS", "Finding", "check"]
