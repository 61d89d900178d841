"""The version, which `pyproject.toml` states too: Flower reads it there."""

__version__ = "0.1.0"
