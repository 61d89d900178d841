"""The federation's configuration as kits carry it: what was set, without paths of the operator's machine."""

from __future__ import annotations

from typing import Any

import tomlkit

from werkbund.config import Config

_HEAD = "# The configuration of the federation. Keys that are not here have their defaults.\n\n"


def server_config(config: Config) -> str:
    """Return the server's `federation.toml`: the data are at the plants, so no path to data is left in it."""
    return _written(_stripped(config))


def plant_config(config: Config) -> str:
    """Return a plant's `federation.toml`: like the server's, and without the path of first weights."""
    values = _stripped(config)
    model = values.get("model", {})
    initial = str(model.get("initial", "random"))
    if initial not in ("random", "client") and not initial.startswith("client:"):
        del model["initial"]
    return _written(values)


def _stripped(config: Config) -> dict[str, Any]:
    values = config.model_dump(exclude_unset=True)
    for key in ("path", "clients"):
        values.get("data", {}).pop(key, None)
    return values


def _written(values: dict[str, Any]) -> str:
    return _HEAD + tomlkit.dumps({section: keys for section, keys in _without_none(values).items() if keys})


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in values.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in given.items()}
