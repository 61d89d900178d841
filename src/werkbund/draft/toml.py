"""Commented TOML: keys that are set, each below its reason, and keys that could be, each a comment with its default."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomlkit
from pydantic import BaseModel

from werkbund.config.models import ClustersSection, PersonalSection
from werkbund.config.rows import EventsSection, FleetSection, WindowsSection

WIDTH = 110

EXAMPLES: dict[str, Any] = {
    "data.separator": ";",
    "data.decimal_comma": True,
    "data.encoding": "cp1252",
    "data.skip": 2,
    "data.header": False,
    "data.units_row": True,
    "data.sheet": "Sheet1",
    "data.positive": "yes",
    "data.empty_label": "no",
    "data.horizon": 30.0,
    "data.cap": 125.0,
    "data.machine": "machine_id",
    "data.machine_reset": "tool_wear",
    "data.time": "timestamp",
    "data.client": "site",
    "data.missing": {"temperature": [-999, "> 500"]},
    "data.units": {"Linz": {"temperature": ["K", "°C"]}},
    "data.without": ["Linz"],
    "data.tag": "sensor",
    "data.value": "reading",
    "data.mode": "failure_type",
    "data.mode_none": "none",
    "model.hidden": [64, 32],
    "model.activation": "relu",
    "model.dropout": 0.1,
    "model.width": 64,
    "model.depth": 2,
    "strategy.aggregation.clip_norm": 1.0,
    "trees.learning_rate": 0.1,
    "trees.max_depth": 5,
    "trees.min_child_rows": 5,
    "trees.l2": 1.0,
    "trees.node_features": 0.5,
    "training.steps": 50,
    "strategy.selection.count": 5,
    "strategy.pace.updates": 5,
    "privacy.colluding": 1,
    "privacy.delta": 1e-5,
    "evaluation.server_rows": "server.csv",
    "stop.target": 0.9,
    "stop.seconds": 600.0,
    "stop.simulated_seconds": 3600.0,
    "stop.joules": 1000.0,
    "stop.bytes": 1e9,
    "stop.reward": 100.0,
    "world.path": "machines.csv",
    "world.deadline_s": 60.0,
}
"""Values to show for keys that have none by default."""

INAPPLICABLE = frozenset(
    {
        "data.source",
        "data.rows",
        "data.plants",
        "data.path",
        "data.clients",
        "data.map",
        "data.columns",
        "data.never",
        "features.derived",
        "privacy.noise_multiplier",
        "privacy.target_epsilon",
        *(f"data.fleet.{key}" for key in FleetSection.model_fields),
        *(f"data.events.{key}" for key in EventsSection.model_fields),
        *(f"data.windows.{key}" for key in WindowsSection.model_fields),
        *(f"strategy.clusters.{key}" for key in ClustersSection.model_fields if key != "name"),
        *(f"strategy.personal.{key}" for key in PersonalSection.model_fields if key != "name"),
    }
)
"""Keys that are written in another form, only concern generated tables, or are options of a method not chosen."""


@dataclass(frozen=True)
class SetKey:
    """Hold a key that is set, its value, and why it has it."""

    key: str
    value: Any
    why: str


def section(
    name: str, model: type[BaseModel], settings: Sequence[SetKey], defaults: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the lines of a section: what is set, then every other key as a comment with its default.

    Parameters
    ----------
    name
        Dotted name of the section.
    model
        Its keys and defaults.
    settings
        What is set.
    defaults
        Values to show for other keys where they differ from the section's.
    """
    lines = [f"[{name}]"]
    for setting in settings:
        lines += [*comment(setting.why), f"{setting.key} = {value(setting.value)}"]
    written = {setting.key for setting in settings}
    shown = {key: field.get_default(call_default_factory=True) for key, field in model.model_fields.items()}
    shown |= {key: example for key in shown if (example := EXAMPLES.get(f"{name}.{key}")) is not None}
    shown |= defaults or {}
    for key, default in shown.items():
        if key in written or default is None or isinstance(default, BaseModel):
            continue
        if f"{name}.{key}" not in INAPPLICABLE:
            lines.append(f"#{key} = {value(default)}{remark(model.model_fields[key].description or '')}")
    return lines


def value(plain: Any) -> str:
    """Return a value as TOML on one line.

    Examples
    --------
    >>> value({"unit": "K", "low": 270.0, "modes": ["TWF"]})
    '{ unit = "K", low = 270.0, modes = ["TWF"] }'
    """
    if isinstance(plain, Mapping):
        inner = ", ".join(f"{_bare(key)} = {value(item)}" for key, item in plain.items())
        return f"{{ {inner} }}" if inner else "{}"
    return str(tomlkit.item(plain).as_string())


def key(name: str) -> str:
    """Return a column's or client's name as a key, in quotes always.

    Examples
    --------
    >>> key('Torque [Nm]')
    '"Torque [Nm]"'
    """
    return value(name)


def comment(text: str) -> list[str]:
    """Return a text as comment lines."""
    return textwrap.wrap(plain_text(text), WIDTH, initial_indent="# ", subsequent_indent="# ")


def remark(text: str) -> str:
    """Return a text as a comment behind a value; nothing if there is no text."""
    return f"  # {plain_text(text)}" if text else ""


def plain_text(text: str) -> str:
    """Return a text on one line, without characters that a comment must not hold."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())


def _bare(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else value(name)


def name_of(stem: str) -> str:
    """Return a run's name made from a file's: letters, digits, points, hyphens and underscores.

    Examples
    --------
    >>> name_of("Werk 3 (März)"), name_of("???")
    ('Werk-3-M-rz', 'federation')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("._-") or "federation"
