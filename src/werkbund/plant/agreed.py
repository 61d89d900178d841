"""What the plant has agreed to: the columns and features in the federation's file that lies in its kit."""

from __future__ import annotations

from pathlib import Path

from werkbund.config.reading import load_config
from werkbund.config.sections import Config, DataSection
from werkbund.core.errors import ClientError
from werkbund.federation.briefing import for_clients

FILE_NAME = "federation.toml"

_OF_NO_MATTER = {"path", "clients", "client", "source", "rows", "plants", "separator", "decimal_comma"}


class RefusedError(ClientError):
    """Report that the plant's own policy forbids what the server asks."""


def check_agreed(kit: Path, config: Config) -> None:
    """Refuse a run that asks for other columns or features than the file in the plant's kit, or for other code.

    Rounds, epochs and the shipped networks may change from run to run. What is read of each row may not, because a
    server that could choose columns and expressions could single out rows; nor may a network of one's own, because
    building one runs the code of a module that the configuration names.

    Parameters
    ----------
    kit
        The plant's; without a `federation.toml` in it no columns were agreed, and any may be asked for.
    config
        The run's.

    Raises
    ------
    RefusedError
        If they differ; it names the keys.
    """
    path = kit / FILE_NAME
    agreed = for_clients(load_config(path)) if path.is_file() else None
    _check_network(agreed, config)
    _check_strategy(config)
    if agreed is None:
        return
    odd = [f"data.{name}" for name in _differing(agreed.data, config.data)]
    odd += ["features"] if agreed.features != config.features else []
    if odd:
        raise RefusedError(
            f"{', '.join(odd)} of this run differ from the {FILE_NAME} that this plant has agreed to; "
            "if the change is meant, send the plant the new file"
        )


def _check_network(agreed: Config | None, config: Config) -> None:
    """Refuse a network from a module that the plant has not named: building it runs that module's code."""
    model = config.model
    if ":" not in model.kind:
        return
    if agreed is None or (agreed.model.kind, agreed.model.options) != (model.kind, model.options):
        raise RefusedError(
            f"model.kind of this run is {model.kind!r}, code that this plant has not agreed to run; to agree, it "
            f"writes model.kind and model.options into the {FILE_NAME} in its kit"
        )


def _check_strategy(config: Config) -> None:
    """Refuse methods that are code of the server's own: they run at the server, and no server asks a plant for them."""
    sections = {"selection": config.strategy.selection.name, "aggregation": config.strategy.aggregation.name}
    for section, name in sections.items():
        if ":" in name:
            raise RefusedError(f"strategy.{section}.name of this run is {name!r}, code that no plant runs")


def _differing(first: DataSection, second: DataSection) -> list[str]:
    names = [name for name in DataSection.model_fields if name not in _OF_NO_MATTER]
    return [name for name in names if getattr(first, name) != getattr(second, name)]
