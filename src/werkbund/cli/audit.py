"""The command audit: attacks on a federation, played in process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from werkbund.cli.edge import (
    DataOption,
    JsonOption,
    SetOption,
    configured,
    output,
    print_json,
    print_line,
    progress,
    readable_errors,
)
from werkbund.cli.tables import plain_table

if TYPE_CHECKING:
    from werkbund.audit.contract import Reached
    from werkbund.config import Config


def audit_command(
    place: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN|CONFIG]", help="Folder of a run in process, or federation.toml; none: built in."),
    ] = None,
    data: DataOption = None,
    settings: SetOption = None,
    models: Annotated[
        int, typer.Option("--shadows", min=4, help="Models that are trained for attacks on membership, an even number.")
    ] = 8,
    as_json: JsonOption = False,
) -> None:
    """Attack a federation: membership, share of failures, rows from updates; with and without each protection."""
    with readable_errors():
        from werkbund.audit.auditing import audited

        console = progress()
        found = audited(_config_at(place, data, settings), models, lambda what: console.print(f"{what} ..."))
        if as_json:
            print_json(found.to_json())
            return
        output().print(_table(found.findings))
        for card in dict.fromkeys(finding.card for finding in found.findings):
            print_line(f"{card.name}: {card.who}, with {card.needs} ({card.source})")
        print_line(found.to_json()["about"])


def _config_at(place: Path | None, data: Path | None, settings: list[str] | None) -> Config:
    """Return the configuration of a run's folder, or of a file."""
    from werkbund.federation.folder import Folder

    is_run = place is not None and place.is_dir()
    file = Folder.existing(place).path / "config.toml" if place is not None and is_run else place
    return configured(file, data, settings)


def _table(findings: Sequence[Reached]) -> Table:
    table = plain_table("Attacks")
    for name in ("attack", "protection"):
        table.add_column(name, overflow="fold")
    for name in ("AUC", "at 1 %", "error"):
        table.add_column(name, justify="right")
    table.add_column("comes to", overflow="fold")
    for one in findings:
        figures = (f"{v:.3g}" if v is not None else "" for v in (one.auc, one.at_1_percent, one.error))
        table.add_row(Text(one.card.name), Text(one.protection), *figures, Text(one.says))
    return table
