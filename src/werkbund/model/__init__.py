"""A trained model as one thing: scores raw units, is saved, exported to ONNX and described by a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from werkbund.core.errors import ModelError
from werkbund.model.binary import sigmoid
from werkbund.model.card import CardFacts, card_markdown, model_card
from werkbund.model.contract import Explanation, Model
from werkbund.model.network import TrainedModel
from werkbund.model.onnx.exported import score_onnx
from werkbund.model.several import MembersModel, folder_of_client, write_several
from werkbund.model.storage import read_description
from werkbund.model.trees import TreeModel

LOADERS: Mapping[str, Callable[[Path], Model]] = {"network": TrainedModel.load, "trees": TreeModel.load}
"""Family of a model, as its folder states it -> what reads the folder."""


def load_model(folder: Path) -> Model:
    """Read what any model's `save` wrote.

    Raises
    ------
    ModelError
        If a file is missing, truncated or changed, or this release knows no such family.
    """
    family = str(read_description(folder).get("family", "network"))
    if family not in LOADERS:
        raise ModelError(
            f"model folder {folder} must hold one of {', '.join(LOADERS)}, got {family!r}; update Werkbund"
        )
    return LOADERS[family](folder)


__all__ = [
    "LOADERS",
    "CardFacts",
    "Explanation",
    "MembersModel",
    "Model",
    "TrainedModel",
    "TreeModel",
    "card_markdown",
    "folder_of_client",
    "load_model",
    "model_card",
    "score_onnx",
    "sigmoid",
    "write_several",
]
