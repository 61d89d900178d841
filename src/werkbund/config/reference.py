"""The reference of all configuration keys as Markdown, from the sections themselves."""

from __future__ import annotations

from typing import Any

import tomlkit

from werkbund.config.keys import WHY
from werkbund.config.reading import valid_keys
from werkbund.config.sections import Config

_BASICS = {
    "federation.name": "name of the run's folder",
    "federation.rounds": "rounds of training",
    "federation.quorum": "share of a round's cohort that must answer usefully",
    "data.source": "without a path: ai4i2020, or generator for generated rows in any case",
    "data.path": "CSV or Parquet file with the rows of all clients",
    "data.clients": "or one file a client: name = path",
    "data.rows": "rows to generate",
    "data.plants": "plants to generate; as many as clients.count if left out",
    "data.label": "column to foretell; a table known by its header needs none",
    "data.never": "columns that must not be features: identifiers, and what leaks the label",
    "data.columns": "feature columns: kind (number, category), unit, low, high; all others if left out",
    "features.derived": "name = SQL expression over raw columns, or a table with expression and unit",
    "clients.partition": "by-column, tool-blocks, iid, dirichlet, quantity, regime; chosen by the columns if left out",
    "training.batch_size": "rows a step",
    "training.clip_norm": "largest norm of a step's gradient",
    "training.positive_weight": "weight of failures in the loss: none, sqrt, balanced, or a number",
    "strategy.aggregation.weighting": "examples: a client counts by its rows; equal: all alike",
    "evaluation.missed_failure": "cost of a failure that nobody announced",
    "evaluation.needless_inspection": "cost of an announcement without a failure",
}


def configuration_reference() -> str:
    """Return the page that lists every key with its default."""
    lines = ["# Configuration", ""]
    lines += ["Every key has a default; an empty file is the built-in federation.", ""]
    lines += ["`--set section.key=value` changes one key on the command line.", ""]
    lines += ["An unknown key, a wrong type or a value out of range is refused with the nearest valid key.", ""]
    section = ""
    for key in valid_keys():
        head, _, name = key.rpartition(".")
        if head != section:
            lines += ["", f"## [{head}]", "", "| key | default | what |", "| --- | --- | --- |"]
            section = head
        lines.append(f"| `{name}` | {_default(key)} | {(WHY | _BASICS)[key]} |")
    return "\n".join(lines) + "\n"


def _default(key: str) -> str:
    value: Any = Config()
    for part in key.split("."):
        value = getattr(value, part)
    return "-" if value is None else f"`{tomlkit.item(value).as_string() or value}`"
