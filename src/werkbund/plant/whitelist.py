"""What a server's description of a run may decide at a plant: each of its fields has a rule, or the run is refused.

A field is *agreed*, and must be as in the federation's file in the plant's kit; or it is *the server's own*, and must
not be told at all; or it is *free*, within a bound of the plant's file where one is named here. The plant goes on with
a configuration of its own, in which what is agreed is taken from its file and what is the server's has its default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from werkbund.aggregation import build_aggregator
from werkbund.aggregation.contract import check_training
from werkbund.config.models import PersonalSection
from werkbund.config.reading import SERVERS_OWN, check_config, leaves_of, with_leaves
from werkbund.config.sections import Config, TrainingSection
from werkbund.core.defaults import MOST_FORGOTTEN
from werkbund.core.errors import ConfigError
from werkbund.data import Preparation, Schema
from werkbund.data.plausibility import plausible_ranges
from werkbund.data.statistics import category_names, marks_of, number_names, ranges_of
from werkbund.plant.agreed import FILE_NAME, RefusedError
from werkbund.plant.briefing import Briefing
from werkbund.plant.settings import FILE_NAME as PLANTS_FILE
from werkbund.plant.settings import BoundsSection

AGREED: tuple[str, ...] = (
    "federation.purpose",
    "data.label",
    "data.positive",
    "data.empty_label",
    "data.target",
    "data.horizon",
    "data.cap",
    "data.machine",
    "data.machine_reset",
    "data.time",
    "data.never",
    "data.modes",
    "data.mode",
    "data.mode_none",
    "data.columns",
    "data.missing",
    "data.windows",
    "features.preset",
    "features.derived",
    "clients.split",
    "clients.test",
    "clients.validation",
    "clients.later",
    "clients.gap",
    "privacy.secure_sums",
    "privacy.colluding",
    "privacy.strict",
    "privacy.unit",
    "privacy.clip",
    "privacy.noise_multiplier",
    "privacy.target_epsilon",
    "privacy.delta",
    "privacy.shared_noise",
    "privacy.adaptive_clip",
)
"""Keys that say what is computed about rows, and what is seen of it: a run that differs in one is refused."""

FREE: tuple[str, ...] = (
    "federation.name",
    "federation.rounds",
    "federation.seed",
    "federation.quorum",
    "federation.round_timeout_s",
    "federation.patience",
    "federation.checkpoint_every",
    "federation.deliver_every",
    "model.kind",
    "model.hidden",
    "model.activation",
    "model.dropout",
    "model.width",
    "model.depth",
    "model.options",
    "trees.learning_rate",
    "trees.max_depth",
    "trees.max_leaves",
    "trees.min_child_rows",
    "trees.l2",
    "trees.num_bins",
    "trees.rank_error",
    "trees.row_share",
    "trees.tree_features",
    "trees.node_features",
    "trees.count",
    "trees.together",
    "trees.combine",
    "trees.min_cell_rows",
    "trees.positive_weight",
    "trees.monotone",
    "training.optimizer",
    "training.learning_rate",
    "training.schedule",
    "training.momentum",
    "training.weight_decay",
    "training.epochs",
    "training.steps",
    "training.batch_size",
    "training.clip_norm",
    "training.positive_weight",
    "training.proximal",
    "training.batched",
    "training.compiled",
    "strategy.aggregation",
    "strategy.personal",
    "privacy.seeded",
    "evaluation.metric",
    "evaluation.keep_best",
    "evaluation.missed_failure",
    "evaluation.needless_inspection",
    "stop.target",
    "stop.seconds",
    "stop.simulated_seconds",
    "stop.joules",
    "stop.bytes",
    "stop.reward",
)
"""Keys that say how long and how it trains; some are bounded, see `BOUNDED`."""


@dataclass(frozen=True)
class Ground:
    """Hold what a server's words are compared with.

    Parameters
    ----------
    agreed
        The federation's file in the plant's kit.
    bounds
        Of the plant's own file.
    minimum_rows
        Of its policy.
    """

    agreed: Config
    bounds: BoundsSection
    minimum_rows: int


Bounded = Callable[[Any, Ground], str]
"""Given a value and the plant's ground, return the rule that is broken; empty if none is."""


def _at_most(name: str) -> Bounded:
    def rule(value: Any, ground: Ground) -> str:
        most = getattr(ground.bounds, name)
        return "" if value is None or value <= most else f"must be at most bounds.{name} of {PLANTS_FILE}, {most}"

    return rule


def _model_is_allowed(value: Any, ground: Ground) -> str:
    if ":" in value:
        if value == ground.agreed.model.kind:
            return ""
        return f"is code that this plant has not agreed to run; to agree, it writes model.kind into its {FILE_NAME}"
    allowed = ground.bounds.models
    return "" if value in allowed else f"must be one of bounds.models of {PLANTS_FILE}: {', '.join(allowed)}"


def _options_are_agreed(value: Any, ground: Ground) -> str:
    agreed = ground.agreed.model.options
    return "" if value in ({}, agreed) else f"must be as in the {FILE_NAME} of this plant: {agreed}"


def _is_shipped(value: Any, ground: Ground) -> str:
    return f"is {value['name']!r}, code that no plant runs" if ":" in value["name"] else ""


def _personal_is_bounded(value: Any, ground: Ground) -> str:
    layers, most = value["layers"] or (), ground.bounds.epochs
    if len(layers) > _MOST_PATTERNS or any(len(layer) > MOST_NAME for layer in layers):
        return f"may name at most {_MOST_PATTERNS} layers, each of at most {MOST_NAME} letters"
    plan = PersonalSection(**value).plan
    if max(plan.head_epochs, plan.epochs or 0) > most:
        return f"must take at most bounds.epochs of {PLANTS_FILE}, {most}, passes over its rows"
    return ""


def _is_not_seeded(value: Any, ground: Ground) -> str:
    return "must be false at a plant: who knows the seed takes the noise away" if value else ""


BOUNDED: Mapping[str, Bounded] = {
    "federation.rounds": _at_most("rounds"),
    "model.kind": _model_is_allowed,
    "model.options": _options_are_agreed,
    "training.learning_rate": _at_most("learning_rate"),
    "training.epochs": _at_most("epochs"),
    "training.steps": _at_most("steps"),
    "trees.count": _at_most("trees"),
    "trees.together": _at_most("trees"),
    "trees.max_depth": _at_most("depth"),
    "strategy.aggregation": _is_shipped,
    "strategy.personal": _personal_is_bounded,
    "privacy.seeded": _is_not_seeded,
}
"""Keys among the free ones that the plant's own file bounds."""


def admitted(asked: Config, ground: Ground) -> Config:
    """Return the configuration by which a plant works for a run.

    Parameters
    ----------
    asked
        As the server told it.
    ground
        The plant's.

    Raises
    ------
    RefusedError
        If the run differs from what is agreed, is beyond a bound, or tells what is the server's own; it names the keys.
    """
    values, agreed, usual = leaves_of(asked), leaves_of(ground.agreed), leaves_of(Config())
    differing = [key for key in AGREED if values[key] != agreed[key]]
    faults = []
    if differing:
        faults.append(
            f"{', '.join(differing)} of this run differ from the {FILE_NAME} that this plant has agreed to; if the "
            "change is meant, send the plant the new file"
        )
    own = [key for key in SERVERS_OWN if values[key] != usual[key]]
    if own:
        faults.append(f"{', '.join(own)} of this run are the server's own, and no plant follows them")
    for key, rule in BOUNDED.items():
        fault = rule(values[key], ground)
        faults += [f"{key} of this run {fault}, got {values[key]!r}"] if fault else []
    faults += _faults_of_training(asked.training, asked.strategy.personal.plan.pull or 0.0, ground) + _faults_of_rule(
        asked
    )
    if faults:
        raise RefusedError("; ".join(faults))
    kept = {**{key: agreed[key] for key in AGREED}, **{key: usual[key] for key in SERVERS_OWN}}
    return check_config(with_leaves({**values, **kept}))


def _faults_of_rule(asked: Config) -> list[str]:
    """Return why a training does not go with the rule of aggregation, whose half at clients would do it otherwise."""
    rule = asked.strategy.aggregation
    if ":" in rule.name:
        return []
    try:
        check_training(build_aggregator(rule.name, **rule.options), asked.training)
    except ConfigError as error:
        return [f"the training of this run does not go with strategy.aggregation: {error}"]
    return []


def _faults_of_training(training: TrainingSection, pull: float, ground: Ground) -> list[str]:
    """Return why an update would be over too few rows: of few steps, or of the last steps alone, or of few failures."""
    faults, least, weight = [], ground.minimum_rows, training.positive_weight
    if training.steps is not None and training.steps * training.batch_size < least:
        faults.append(
            f"training.steps x training.batch_size of this run are {training.steps * training.batch_size} rows, fewer "
            f"than policy.minimum_rows of {PLANTS_FILE}, {least}"
        )
    pulls = {f"training.{name}": getattr(training, name) for name in ("weight_decay", "proximal")}
    for name, strength in {**pulls, "strategy.personal.pull": pull}.items():
        forgotten = training.learning_rate * strength
        if not forgotten <= MOST_FORGOTTEN:
            faults.append(
                f"training.learning_rate x {name} of this run must be at most {MOST_FORGOTTEN}, got "
                f"{forgotten:g}: the last steps would undo those before, and the update be over few rows"
            )
    if not isinstance(weight, str) and not weight <= ground.bounds.positive_weight:
        most = ground.bounds.positive_weight
        faults.append(f"training.positive_weight of this run must be at most {most:g}, got {weight:g}")
    return faults


MOST_MODES, MOST_LEVELS, MOST_NAME = 1000, 10_000, 200
_MOST_ROWS, _MOST_PATTERNS = 2**48, 100


def check_run(briefing: Briefing) -> str:
    """Return what is wrong with the name of a run; empty if nothing is."""
    return "" if 0 < len(briefing.run) <= MOST_NAME else f"its run must have a name of at most {MOST_NAME} letters"


def check_number(briefing: Briefing) -> str:
    """Return what is wrong with the client's number: it names the plant among the others and decides about no row."""
    return "" if 0 <= briefing.number < 2**31 else f"a client's number must be in 0..2**31 - 1, got {briefing.number}"


def check_modes(briefing: Briefing) -> str:
    """Return what is wrong with the names of the failure modes."""
    names = briefing.mode_names
    fits = len(names) <= MOST_MODES and len(set(names)) == len(names) and all(len(n) <= MOST_NAME for n in names)
    return "" if fits else f"failure modes must be at most {MOST_MODES} different names"


def check_labels(briefing: Briefing) -> str:
    """Return what is wrong with the rows of the whole federation by class."""
    fits = all(0 <= rows <= _MOST_ROWS for rows in briefing.labels)
    return "" if fits else f"labels must be two numbers of rows, got {briefing.labels}"


def check_preparation(preparation: Preparation, schema: Schema) -> str:
    """Return where a preparation is more than numbers for the agreed schema; empty if it is not.

    Parameters
    ----------
    preparation
        As the server told it.
    schema
        Of the plant's own table.
    """
    names = tuple(name for name, _ in preparation.categories)
    pairs = {
        "numeric": (preparation.numeric, number_names(schema)),
        "derived": (preparation.derived, schema.derived),
        "categories": (names, category_names(schema)),
        "windows": (preparation.telemetry, schema.telemetry),
    }
    odd = [what for what, (told, own) in pairs.items() if told != own]
    if odd:
        return f"the preparation's {', '.join(odd)} are not those of the agreed columns and features"
    if any(len(levels) > MOST_LEVELS or len(set(levels)) < len(levels) for _, levels in preparation.categories):
        return f"a category of the preparation must have at most {MOST_LEVELS} different levels"
    units = tuple(column.unit for column in schema.features if column.kind == "number")
    if preparation.units not in ((), units):
        return "the preparation's units are not those of the agreed columns"
    if dict(preparation.marks) != marks_of(schema):
        return "the preparation's marks for missing readings are not those of the agreed columns"
    if dict(preparation.ranges) != ranges_of(schema):
        return "the preparation's plausible ranges are not those of the agreed columns"
    return _off_range(preparation, schema)


def _off_range(preparation: Preparation, schema: Schema) -> str:
    """Return which means are outside the plausible range that was agreed."""
    low, high = plausible_ranges(schema)
    mean = np.asarray(preparation.mean)
    odd = [name for name, is_off in zip(preparation.numbers, (mean < low) | (mean > high), strict=True) if is_off]
    return f"the preparation's mean of {', '.join(odd)} is outside the plausible range" if odd else ""


CHECKS: Mapping[str, Callable[[Briefing], str] | None] = {
    "run": check_run,
    "config": None,  # see `admitted`
    "number": check_number,
    "mode_names": check_modes,
    "schema": None,  # compared with the plant's own
    "preparation": None,  # see `check_preparation`
    "labels": check_labels,
}
"""What looks at each field of a briefing; None where the plant's own rows or file must be at hand."""


def check_words(briefing: Briefing) -> None:
    """Refuse a briefing whose plain fields no run needs.

    Raises
    ------
    RefusedError
        If one breaks its rule.
    """
    faults = [fault for check in CHECKS.values() if check is not None and (fault := check(briefing))]
    if faults:
        raise RefusedError("; ".join(faults))
