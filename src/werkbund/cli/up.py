"""The command that starts a whole real federation on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from werkbund.cli.edge import (
    ConfigArgument,
    DataOption,
    JsonOption,
    SeedOption,
    SetOption,
    configured,
    print_json,
    progress,
    readable_errors,
)
from werkbund.cli.live import LiveRounds
from werkbund.cli.signals import STOPPED, stoppable_once
from werkbund.cli.tables import show_checks, show_deployed


def up_command(
    config: ConfigArgument = None,
    clients: Annotated[
        int | None, typer.Option("--clients", min=1, help="Number of clients; 4 unless the configuration names them.")
    ] = None,
    data: DataOption = None,
    settings: SetOption = None,
    seed: SeedOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run, new; kits go beside it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a SuperLink and SuperNodes as processes on this machine, with TLS and keys, and run the federation."""
    with readable_errors():
        from werkbund.flower.trial.trial import up  # Flower is slow to import

        loaded = configured(config, data, settings, seed)
        console = progress()
        with LiveRounds(console) as live:
            try:
                with stoppable_once():
                    finished = up(
                        loaded, clients, out, live, lambda checks: show_checks(console, checks, only_faults=True)
                    )
            except KeyboardInterrupt:
                live.stage("stopped")
                console.print("Stopped, and all processes with it. `werkbund up` starts a new run.", soft_wrap=True)
                raise typer.Exit(STOPPED) from None
        if as_json:
            print_json(finished.summary())
        else:
            show_deployed(finished.folder)
