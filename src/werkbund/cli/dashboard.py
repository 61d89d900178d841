"""The command of the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from werkbund.cli.edge import print_line, readable_errors
from werkbund.core.errors import ConfigError


def dashboard_command(
    runs: Annotated[Path | None, typer.Argument(metavar="[RUNS]", help="Folder of runs, or of one run.")] = None,
    kit: Annotated[Path | None, typer.Option("--kit", help="Folder of a server's kit: shows its plants too.")] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others than loopback need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8350,
    token_file: Annotated[Path | None, typer.Option("--token-file", help="File with what readers must know.")] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", help="PEM file of the certificate.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="PEM file of the certificate's key.")] = None,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="A name by which browsers may call this machine.")
    ] = None,
) -> None:
    """Show runs in the browser as they go; reads folders and changes nothing."""
    with readable_errors():
        token = token_file.read_text(encoding="utf-8", errors="replace").strip() if token_file else ""
        place = runs or (kit / "runs" if kit else Path("runs"))
        if runs is not None and not runs.is_dir():
            raise ConfigError(f"RUNS must be a folder of runs, or of one run, got {runs}; runs lie under runs/")
        try:
            from werkbund.dashboard.app import application, server_of
            from werkbund.dashboard.guard import Door
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"`werkbund dashboard` needs {error.name}, got none; install it by `pip install 'werkbund[dashboard]'`"
            ) from error

        door = Door(host, port, token, certificate, key, tuple(name.lower() for name in names or ()))
        app = application(place, door, _clients_of(kit) if kit else None)
        print_line(f"Dashboard of {place}: {door.address}\nCtrl-C stops it.")
        server_of(app, door).run()


def _clients_of(kit: Path) -> Callable[[], list[Mapping[str, Any]]]:
    """Return what asks a kit's server for the plants that it knows.

    Raises
    ------
    ConfigError
        If the kit's file breaks a rule.
    """
    from werkbund.flower.server.kit import load_server_settings
    from werkbund.flower.server.status import status

    load_server_settings(kit)
    return lambda: status(kit).to_json()["clients"]
