"""Readable findings about a table, before anything is trained."""

from werkbund.data.checks.check import CHECKS, check, dealt_anew
from werkbund.data.checks.finding import Finding

__all__ = ["CHECKS", "Finding", "check", "dealt_anew"]
