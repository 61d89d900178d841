"""A configuration: its sections with their defaults, how it is read and checked, and the reference of its keys."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.config.reading import changed, check_config, load_config, to_toml
    from werkbund.config.sections import Config
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["Config", "changed", "check_config", "load_config", "to_toml"]
