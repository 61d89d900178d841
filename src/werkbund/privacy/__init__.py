"""What leaves a client: a stack of layers, applied before an answer is sent and unwound over the sum at the server."""

from werkbund.privacy.stack import Departure, Layer, Stack, added

__all__ = ["Departure", "Layer", "Stack", "added"]
