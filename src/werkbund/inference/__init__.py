"""A finished model at work: rows scored within what it knows, reasons in words, figures, a service, drift."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.inference.domain import Domain, Oddity, together
    from werkbund.inference.drift import Look, Moved, look
    from werkbund.inference.reasons import Reason, Reasons, sentence
    from werkbund.inference.scorer import Figures, ModelPlace, ScoredRows, Scorer
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Domain",
    "Figures",
    "Look",
    "ModelPlace",
    "Moved",
    "Oddity",
    "Reason",
    "Reasons",
    "ScoredRows",
    "Scorer",
    "look",
    "sentence",
    "together",
]
