"""A trained model as one thing: scores raw units, is saved, exported to ONNX and described by a card."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.model.binary import sigmoid
    from werkbund.model.card import CardFacts, card_markdown, model_card
    from werkbund.model.contract import Explanation, Model
    from werkbund.model.network import TrainedModel
    from werkbund.model.onnx.running import score_onnx
    from werkbund.model.several import MembersModel, folder_of_client, write_several
    from werkbund.model.storage import load_model
    from werkbund.model.trees import TreeModel
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
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
