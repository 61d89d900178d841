"""The command that starts a whole real federation on this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from werkbund.cli.deployed import show_checks, show_deployed
from werkbund.cli.edge import print_json, progress, readable_errors
from werkbund.cli.live import LiveRounds
from werkbund.cli.train import ConfigArgument, DataOption, JsonOption, SetOption, configured


def up_command(
    config: ConfigArgument = None,
    clients: Annotated[
        int | None, typer.Option("--clients", min=1, help="Number of clients; 4 unless the configuration names them.")
    ] = None,
    data: DataOption = None,
    settings: SetOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the whole run.")] = None,
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
                with _stoppable_once():
                    done = up(loaded, clients, out, live, lambda checks: show_checks(console, checks, only_faults=True))
            except KeyboardInterrupt:
                live.stage("stopped")
                console.print("Stopped, and all processes with it. `werkbund up` starts a new run.", soft_wrap=True)
                raise typer.Exit(130) from None
        if as_json:
            print_json(done.summary())
        else:
            show_deployed(done.folder)


@contextmanager
def _stoppable_once() -> Iterator[None]:
    """Have Ctrl-C, SIGTERM and the end of the terminal stop what runs, once: a second one must not disturb that."""
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        for kind in kinds:
            signal.signal(kind, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {kind: signal.signal(kind, stop) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
