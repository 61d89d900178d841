"""A configuration: its sections with their defaults, how it is read and checked, and the reference of its keys."""

from werkbund.config.reading import changed, check_config, load_config, to_toml
from werkbund.config.sections import Config

__all__ = ["Config", "changed", "check_config", "load_config", "to_toml"]
