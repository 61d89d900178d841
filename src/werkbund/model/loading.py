"""Read a model's folder, whatever kind of model lies in it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from werkbund.core.errors import ModelError
from werkbund.model.contract import Model
from werkbund.model.storage import read_description

_HOMES = {"network": "werkbund.model.trained:TrainedModel", "trees": "werkbund.model.trees:TreeModel"}
"""What lies in a folder -> what reads it; scoring with a network need not load what trees need."""


def load_model(folder: Path) -> Model:
    """Read what any model's `save` wrote.

    Raises
    ------
    ModelError
        If a file is missing, truncated or changed, or this release knows no such model.
    """
    family = read_description(folder).get("family", "network")
    if family not in _HOMES:
        raise ModelError(f"model folder {folder} must hold one of {', '.join(_HOMES)}, got {family!r}; update Werkbund")
    module, _, name = _HOMES[family].partition(":")
    model: Model = getattr(import_module(module), name).load(folder)
    return model
