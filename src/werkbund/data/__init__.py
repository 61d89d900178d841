"""Tables of machine readings: where they come from, what their columns mean, what is wrong with them.

Derived features are written in the SQL subset of `werkbund.data.expressions`.
"""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.data.ai4i import AI4I_SCHEMA, TWIN_SCHEMA, fetch_ai4i, load_ai4i, locate, recognise
    from werkbund.data.checks import Finding, check
    from werkbund.data.client_files import ClientFiles
    from werkbund.data.dialect import Dialect
    from werkbund.data.generator import generate
    from werkbund.data.preparation import Preparation
    from werkbund.data.rules import rule_flags
    from werkbund.data.schema import Column, Derived, Schema
    from werkbund.data.sources import ParquetSource, Source, TextSource, source_for
    from werkbund.data.statistics import SurveyCounts, squares, survey
    from werkbund.data.table import Origin, Table
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "AI4I_SCHEMA",
    "TWIN_SCHEMA",
    "ClientFiles",
    "Column",
    "Derived",
    "Dialect",
    "Finding",
    "Origin",
    "ParquetSource",
    "Preparation",
    "Schema",
    "Source",
    "SurveyCounts",
    "Table",
    "TextSource",
    "check",
    "fetch_ai4i",
    "generate",
    "load_ai4i",
    "locate",
    "recognise",
    "rule_flags",
    "source_for",
    "squares",
    "survey",
]
