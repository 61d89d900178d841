"""A trained model as one thing: scores raw units, is saved, exported to ONNX and described by a card."""

from werkbund.model.card import CardFacts, card_markdown, model_card
from werkbund.model.contract import Explanation, Model
from werkbund.model.loading import load_model
from werkbund.model.onnx_session import score_onnx
from werkbund.model.probability import sigmoid
from werkbund.model.trained import TrainedModel

__all__ = [
    "CardFacts",
    "Explanation",
    "Model",
    "TrainedModel",
    "card_markdown",
    "load_model",
    "model_card",
    "score_onnx",
    "sigmoid",
]
