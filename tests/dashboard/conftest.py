"""Folders of runs, as the tests of the report write them."""

from __future__ import annotations

from tests.report.conftest import finished, sample

__all__ = ["finished", "sample"]
