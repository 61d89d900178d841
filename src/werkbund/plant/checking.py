"""What a plant sees before anything is sent: what was found, what does not fit, and which fields may leave it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.config.reading import load_config
from werkbund.config.sections import Config
from werkbund.core.errors import FederationError
from werkbund.core.forms import DeliveredCard
from werkbund.core.kinds import Field, Kind
from werkbund.core.store import RowStore
from werkbund.core.stored import read_stored
from werkbund.core.types import Tasks
from werkbund.data import Schema, Table
from werkbund.data.answers import SURVEY
from werkbund.data.checks import Finding, check
from werkbund.data.checks.lines import PlantLines
from werkbund.engine import InProcessGrid, Worker
from werkbund.engine.kinds import TRAIN
from werkbund.federation.asking import Asks, is_asked
from werkbund.federation.families.family import family_of, grows_trees
from werkbund.federation.preparing import StatisticsWork, learn_preparation
from werkbund.federation.wiring import network_of, selector_of
from werkbund.learner import layout_of
from werkbund.plant.agreed import FILE_NAME, agreed_config
from werkbund.plant.agreement import Agreement, agreement_in, division_file
from werkbund.plant.briefing import Briefing
from werkbund.plant.division import KnownRows
from werkbund.plant.leaving import OTHERS, asked_anyway, cut_down, leaving, signals_of
from werkbund.plant.offers import OFFERS, Offer, kinds_of
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Policy
from werkbund.plant.rows import DividedRows, divided_rows
from werkbund.plant.settings import PlantSettings, load_settings
from werkbund.plant.source import read_plant_table
from werkbund.plant.standing import Standing, standing
from werkbund.plant.store import PlantFolder
from werkbund.plant.withholding import few_values, levels_of
from werkbund.selection import SELECTORS, Declaration

_UNASKED = "only if a run asks for it; one of the federation's file, which {}, does not"
_HOW = {"sums": "only to be added to other plants'", "clear": "in clear"}


@dataclass(frozen=True)
class PlantCheck:
    """Hold what a plant would show and send.

    Parameters
    ----------
    name
        Of the plant.
    table
        Its rows under the federation's names; None if they cannot be read.
    errors
        What must be mended before it can take part.
    fields
        What may leave, with the kind of task that it answers and its size here.
    asks
        What a run by the federation's file asks for; None if that is not known.
    chosen_by
        The method by which clients are chosen, and what it needs, by the federation's file; None if it is not known.
    preview
        What it would say at first, exactly: the sums and texts for the common scaling.
    withheld
        What its policy keeps back, in words.
    findings
        What looks odd about the rows.
    standing
        What is settled, what was answered, and what is left of the budgets; None if the rows cannot be read.
    """

    name: str
    table: Table | None
    errors: tuple[str, ...]
    fields: tuple[tuple[Kind, Field, str], ...] = ()
    asks: Asks | None = None
    chosen_by: tuple[str, Declaration] | None = None
    preview: Mapping[str, Any] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    standing: Standing | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the check as values that JSON can hold, for `client check --json`."""
        rows = [self._row(kind, field, size) for kind, field, size in self.fields]
        return {
            "client": self.name,
            "summary": self._summary(),
            "errors": list(self.errors),
            "columns": [] if self.table is None else _columns(self.table.schema),
            "findings": list(self.findings),
            "leaving": rows,
            "others": OTHERS,
            "selection": self._selection(),
            "preview": dict(self.preview),
            "withheld": list(self.withheld),
            "standing": None if self.standing is None else self.standing.to_json(),
        }

    def _row(self, kind: Kind, field: Field, size: str) -> dict[str, Any]:
        """Return what a reader wants to know of a field."""
        asked = self.asks is None or is_asked(kind, field, self.asks)
        return {
            "kind": kind.name,
            "half": field.half,
            "field": field.name,
            "signal": field.signal.name if field.signal else "",
            "size": size,
            "when": kind.when if asked else _UNASKED.format(self._does()),
            "what": field.what,
            "how": _HOW[field.half],
            "asked": asked,
            "measures": kind.measures,
        }

    def _does(self) -> str:
        """Return in words what a run does that does not ask for all."""
        if self.chosen_by is None or self.asks is None or TRAIN not in self.asks:
            return "grows trees"
        return f"chooses clients by {self.chosen_by[0]}"

    def _selection(self) -> dict[str, Any] | None:
        """Return how clients are chosen and what the server learns by it, where that is known."""
        if self.chosen_by is None:
            return None
        name, declared = self.chosen_by
        return {
            "name": name,
            "needs": sorted(declared.needs),
            "asks": sorted(kind.name for kind in declared.asks),
            "reveals": declared.reveals,
        }

    def _summary(self) -> str:
        if self.table is None:
            return f"{self.name}: the rows cannot be used."
        failures = int(self.table.schema.labels(self.table.frame).sum())
        return f"{self.name}: {self.table.num_rows} rows, {failures} failures. {self.table.origin.note}"


def check_plant(kit: Path, offers: Sequence[Offer] = OFFERS) -> PlantCheck:
    """Look at a plant's rows and rules without sending anything.

    Parameters
    ----------
    kit
        The plant's.
    offers
        The kinds of tasks that it does.

    Raises
    ------
    ConfigError
        If the kit's files cannot be read or break a rule.
    """
    kinds = kinds_of(offers)
    known = [signal.name for signal in signals_of(kinds)]
    settings = load_settings(kit, known)
    policy, now = Policy.of(settings, known), datetime.now().astimezone()
    findings: tuple[Finding, ...] = ()
    try:
        agreed = agreed_config(settings.kit)
        table = read_plant_table(settings, agreed)
        findings = check(table, PlantLines())
        errors = tuple(f"{finding.column}: {finding.full_message}" for finding in findings if finding.level == "error")
        written = tuple(finding.to_json() for finding in findings)
        rows = _divided(settings, agreed, table, policy, now)
        stands = standing(settings.state, rows, policy, now)
        modes = table.schema.mode_flags(table.frame)[1]
        briefing = Briefing("check", agreed, 0, modes, table.schema)
        parts = Parts(settings.client.name, briefing, rows.table, rows.dealt.part, policy.minimum_rows)
        if parts.num_training_rows < policy.minimum_rows:
            few = f"policy.minimum_rows is {policy.minimum_rows}, and there are {parts.num_training_rows} training rows"
            errors = (*errors, few)
        sizes = _sizes(parts)
    except FederationError as error:
        mending = (f"{finding.column}: {finding.full_message}" for finding in findings if finding.lines)
        return PlantCheck(settings.client.name, None, (*mending, str(error)))
    file = load_config(settings.kit / FILE_NAME)
    fields = tuple((kind, field, _size(field, sizes)) for kind, field in leaving(kinds, policy.signals))
    kept, preview, chosen_by = _kept(parts, policy, kinds), _preview(parts, policy), _chosen_by(file)
    asks = asked_anyway(family_of(file).asks(file)) if chosen_by is not None else None
    return PlantCheck(settings.client.name, table, errors, fields, asks, chosen_by, preview, kept, written, stands)


def _divided(settings: PlantSettings, agreed: Config, table: Table, policy: Policy, now: datetime) -> DividedRows:
    """Return the rows as they are divided, or as they would be at first contact; nothing is settled by looking."""
    known = agreement_in(settings.state)
    agreement = known or Agreement.settle(agreed, agreed.federation.seed, 0, now)
    division = KnownRows.read(division_file(settings.state))
    return divided_rows(table, agreement, division, policy.minimum_rows)[0]


def _chosen_by(agreed: Config) -> tuple[str, Declaration] | None:
    """Return how clients are chosen; None where that is not known, or code of the server's own that is not run here."""
    if agreed.strategy.selection.name not in SELECTORS:
        return None
    return agreed.strategy.selection.name, selector_of(agreed).declaration


def models(kit: Path) -> list[dict[str, Any]]:
    """Return the delivered models, newest first: version, whether in use, when it came, from which run, its verdict."""
    folder = PlantFolder(load_settings(kit).state)
    current = folder.current()
    versions = []
    for path in sorted((folder.path / "models").glob("[0-9]*"), key=lambda path: -int(path.name)):
        card_file = path / "model_card.json"
        if card_file.is_file():
            card = read_stored(card_file, DeliveredCard, "remove the model's folder, or restore it")
            facts = {"received": card["received"], "run": card["name"], "reason": card["here"]["reason"]}
            used = "yes" if path == current else ""
            versions.append({"version": path.name, "in_use": used, "folder": str(path), **facts})
    return versions


def _sizes(parts: Parts) -> dict[str, str]:
    """Return what the words in the fields' shapes are here; the network's size is that with this plant's categories."""
    statistics = Worker(StatisticsWork(parts.population.splits["train"], parts.population.schema).handlers())
    grid = InProcessGrid((parts.name,), statistics)
    preparation = learn_preparation(grid, parts.population.schema, 600.0).preparation
    return {
        "features": str(len(preparation.numbers)),
        "prepared features": str(preparation.num_features),
        "classes": "2",
        "modes": str(len(parts.briefing.mode_names)),
        "parameters": _num_parameters(parts.briefing.config, preparation.num_features),
    }


def _size(field: Field, sizes: Mapping[str, str]) -> str:
    """Return how large a field is here, in words."""
    if field.dtype == "U":
        return "a text"
    parts = [sizes.get(size, size) if isinstance(size, str) else str(size) for size in field.shape]
    return " x ".join(parts) or "1"


def _num_parameters(config: Config, num_features: int) -> str:
    if grows_trees(config):
        return "as large as the network"
    _, network = network_of(config, num_features)
    return f"{layout_of(network).num_parameters} numbers"


def _preview(parts: Parts, policy: Policy) -> dict[str, Any]:
    """Return the survey as it would leave."""
    asked = Tasks(SURVEY, 0, np.zeros(1, np.int64))
    replies = cut_down(few_values(asked, parts.statistics[SURVEY](asked, RowStore()), policy, parts), policy.signals)
    statistics = {name: array[0].tolist() for half in (replies.sums, replies.clear) for name, array in half.items()}
    if "vocabulary" in statistics:
        statistics["vocabulary"] = json.loads(statistics["vocabulary"])
    return statistics


def _kept(parts: Parts, policy: Policy, kinds: Iterable[Kind]) -> tuple[str, ...]:
    """Return in words what the policy keeps back."""
    signals = signals_of(kinds)
    lines = [f"{signal.what} (policy.signals)" for signal in signals if signal.name not in policy.signals]
    names = [*(column.name for column in parts.population.schema.features if column.kind == "number")]
    names += [derived.name for derived in parts.population.schema.derived]
    few = [
        name for name, number in zip(names, parts.num_values[0].tolist(), strict=True) if number < policy.minimum_rows
    ]
    if few:
        lines.append(f"sums of {', '.join(few)}: fewer than {policy.minimum_rows} values (policy.minimum_rows)")
    for name, levels in levels_of(parts).items():
        rare = [level for level, rows in levels.items() if rows < policy.minimum_rows]
        if rare:
            lines.append(f"levels of {name} with fewer than {policy.minimum_rows} rows: {', '.join(rare)}")
    if policy.minimum_failures:
        lines.append(f"counts over fewer than {policy.minimum_failures} failures (policy.minimum_failures)")
    if policy.minimum_bin_rows > 1 and "counts" in policy.signals:
        least = f"{policy.minimum_bin_rows} (policy.minimum_bin_rows)"
        lines.append(f"which scores single rows have: held-out rows are counted in bins of at least {least}")
    if policy.minimum_cell_rows > 1 and "trees" in policy.signals:
        least = f"fewer than {policy.minimum_cell_rows} rows (policy.minimum_cell_rows)"
        lines.append(f"cells and leaves of trees of {least}; trees are then not those of the pooled rows")
    return tuple(lines)


def _columns(schema: Schema) -> list[dict[str, str]]:
    rows = [{"name": column.name, "role": column.kind, "unit": column.unit, "range": ""} for column in schema.features]
    rows += [
        {"name": derived.name, "role": "derived", "unit": derived.unit, "range": derived.expression}
        for derived in schema.derived
    ]
    return [*rows, {"name": schema.label, "role": "label", "unit": "", "range": ""}]
