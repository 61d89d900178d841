"""A first configuration for a table that nobody prepared, with the reason for each key beside it."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.draft.configuration import draft_config, draft_of, text_of
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["draft_config", "draft_of", "text_of"]
