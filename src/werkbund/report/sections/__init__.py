"""What the page of a run says, section by section, before any of it is HTML.

A section whose data the run did not write keeps its place with one plain sentence, so that a reader sees what was
not done rather than wondering where it is.
"""

from __future__ import annotations

from collections.abc import Callable

from werkbund.report.folder import RunFolder
from werkbund.report.page import PageSection
from werkbund.report.sections.alarms import alarms
from werkbund.report.sections.clusters import clustered
from werkbund.report.sections.comparison import compared
from werkbund.report.sections.contributions import contributed
from werkbund.report.sections.data import data
from werkbund.report.sections.later import later
from werkbund.report.sections.own_rows import own_rows
from werkbund.report.sections.plants import plants
from werkbund.report.sections.privacy import promised, seen
from werkbund.report.sections.provenance import card, methods, repeat
from werkbund.report.sections.training import training

SECTIONS: tuple[Callable[[RunFolder], PageSection], ...] = (
    own_rows,
    compared,
    plants,
    seen,
    promised,
    clustered,
    contributed,
    later,
    alarms,
    training,
    data,
    card,
    methods,
    repeat,
)
"""What makes each section, in reading order."""

__all__ = ["SECTIONS"]
