"""What a section takes for a key that is left out is what the part behind it takes."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from werkbund.config.rows import DataSection, Section
from werkbund.config.sections import EvaluationSection, SelectionSection, TrainingSection, TreesSection
from werkbund.data.ai4i import load_ai4i
from werkbund.engine import Rules
from werkbund.learner import TrainingPlan
from werkbund.selection.contract import CohortSize
from werkbund.trees.protocol.bins import Binning

_TRAINING = ("optimizer", "learning_rate", "momentum", "weight_decay", "epochs", "steps", "batch_size", "clip_norm")


def _defaults(part: Any) -> dict[str, Any]:
    """Return the defaults of a function's parameters, or of a dataclass's fields."""
    if is_dataclass(part):
        return {field.name: field.default for field in fields(part)}
    return {name: parameter.default for name, parameter in inspect.signature(part).parameters.items()}


@pytest.mark.parametrize(
    ("section", "part", "keys"),
    [
        (DataSection, load_ai4i, {"rows": "rows", "path": "path"}),
        (SelectionSection, CohortSize, {"fraction": "fraction", "count": "count"}),
        (TreesSection, Binning, {"num_bins": "num_bins", "rank_error": "rank_error"}),
        (TrainingSection, TrainingPlan, {key: key for key in _TRAINING}),
        (EvaluationSection, Rules, {"clients": "evaluate_clients"}),
    ],
)
def test_section_and_part_agree(section: type[Section], part: Any, keys: dict[str, str]) -> None:
    defaults = _defaults(part)
    for key, name in keys.items():
        assert section.model_fields[key].default == defaults[name], key
