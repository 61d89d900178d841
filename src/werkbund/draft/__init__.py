"""A first configuration for a table that nobody prepared, with the reason for each key beside it."""

from werkbund.draft.configuration import draft_config, draft_of, text_of

__all__ = ["draft_config", "draft_of", "text_of"]
