"""What the plant has agreed to: the columns, features and shares in the federation's file that lies in its kit."""

from __future__ import annotations

from pathlib import Path

from werkbund.config.reading import load_config
from werkbund.config.sections import Config
from werkbund.core.errors import ClientError
from werkbund.plant.briefing import for_clients

FILE_NAME = "federation.toml"


class RefusedError(ClientError):
    """Report that the plant's own policy forbids what the server asks."""


def agreed_config(kit: Path) -> Config:
    """Return the configuration that a plant has agreed to, as clients are told it.

    Parameters
    ----------
    kit
        The plant's.

    Raises
    ------
    RefusedError
        If its kit holds no such file: without it, nobody at the plant has agreed to anything.
    ConfigError
        If the file breaks a rule.
    """
    path = kit / FILE_NAME
    if not path.is_file():
        raise RefusedError(
            f"its kit holds no {FILE_NAME}, so it has agreed to no columns; ask the operator for the federation's "
            "file, read it, and put it there"
        )
    return for_clients(load_config(path))
