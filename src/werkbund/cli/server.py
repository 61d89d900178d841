"""Commands of the operator: server start, status, run, resume, watch, stop, backup."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from werkbund.cli.edge import (
    JsonOption,
    OutOption,
    RunArgument,
    SeedOption,
    SetOption,
    output,
    print_json,
    print_line,
    progress,
    readable_errors,
)
from werkbund.cli.live import LiveRounds
from werkbund.cli.signals import STOPPED, run_until_stopped
from werkbund.cli.tables import plain_table, show_checks, show_deployed
from werkbund.core.errors import ConfigError

if TYPE_CHECKING:
    from werkbund.flower.server.submission import SubmittedRun

KitArgument = Annotated[Path, typer.Argument(metavar="[KIT]", help="Folder of the server's kit.")]
KitOption = Annotated[Path, typer.Option("--kit", help="Folder of the server's kit.")]
HERE = Path()

app = typer.Typer(help="Run the server of a real federation.", no_args_is_help=True, add_completion=False)


@app.command("start")
def start_command(kit: KitArgument = HERE) -> None:
    """Start the server and keep it running: SuperLink, executor, and the list of plants that may join."""
    with readable_errors():
        from werkbund.flower.provision import certificate_warnings
        from werkbund.flower.server.host import ServerHost

        console = progress()
        for warning in certificate_warnings(kit, datetime.now(UTC)):
            console.print(f"Warning: {warning}", style="yellow", soft_wrap=True)
        console.print("Starting the server; Ctrl-C stops it.")
        run_until_stopped(ServerHost(kit, lambda line: console.print(Text(line), soft_wrap=True)))


@app.command("status")
def status_command(kit: KitArgument = HERE, as_json: JsonOption = False) -> None:
    """Show the clients by name, and the runs."""
    with readable_errors():
        from werkbund.flower.server.status import status

        now = status(kit)
        if as_json:
            print_json(now.to_json())
            return
        console = output()
        table = plain_table("Clients")
        for name in ("client", "state", "last seen", "version", "rows", "round"):
            table.add_column(name)
        for client in now.clients:
            numbers = ("-" if number is None else str(number) for number in (client.rows, client.round))
            table.add_row(client.name, client.state, client.last_seen, client.version, *numbers)
        console.print(
            table if now.clients else "No client is known yet; their keys go to the kit, to clients/NAME.pub."
        )
        if not now.runs:
            console.print("\nNo run yet.")
            return
        runs = plain_table("\nRuns")
        for name in ("run", "state", "round", "folder"):
            runs.add_column(name, overflow="fold")
        for run in now.runs:
            runs.add_row(run.name, run.state, str(run.round), run.folder)
        console.print(runs)


@app.command("run")
def run_command(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="federation.toml; without one, the kit's.")
    ] = None,
    kit: KitOption = HERE,
    settings: SetOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for clients that are not there yet.")] = 60,
    detach: Annotated[bool, typer.Option("--detach", help="Start the run and do not watch it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a federation with the plants that have joined."""
    with readable_errors():
        from werkbund.flower.server.kit import load_server_settings
        from werkbund.flower.server.submission import submit

        overrides = [*(settings or []), *([] if seed is None else [f"federation.seed={seed}"])]
        submitted = submit(load_server_settings(kit), config, overrides, out, wait)
        _watch(submitted, detach, as_json)


@app.command("resume")
def resume_command(
    run_dir: RunArgument,
    kit: KitOption = HERE,
    detach: Annotated[bool, typer.Option("--detach", help="Start the run and do not watch it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that was stopped, to the same result."""
    with readable_errors():
        from werkbund.flower.server.kit import load_server_settings
        from werkbund.flower.server.submission import submit_resume

        _watch(submit_resume(load_server_settings(kit), run_dir), detach, as_json)


@app.command("watch")
def watch_command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that goes on.")],
    kit: KitOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Watch a run again that was started or left before."""
    with readable_errors():
        from werkbund.flower.server.kit import load_server_settings
        from werkbund.flower.server.submission import attach

        _watch(attach(load_server_settings(kit), run_dir), False, as_json)


@app.command("stop")
def stop_command(
    kit: KitArgument = HERE,
    run: Annotated[
        str | None, typer.Option("--run", help="Stop this run alone, by its name, and not the server.")
    ] = None,
) -> None:
    """Stop the server, or one run."""
    with readable_errors():
        from werkbund.flower.server.control import connect
        from werkbund.flower.server.host import stop_server
        from werkbund.flower.server.kit import load_server_settings
        from werkbund.flower.server.status import run_number

        if run is None:
            stopped = "The server has stopped. Runs go on with `werkbund server resume` once it is started again."
            print_line(stopped if stop_server(kit) else f"No server runs from {kit.resolve()}.")
            return
        settings = load_server_settings(kit)
        number = run_number(settings, run)
        with connect(settings) as control:
            control.stop_run(number)
        output().print(f"Run {run} has stopped; `werkbund server resume` goes on with it.")


@app.command("backup")
def backup_command(
    kit: KitArgument = HERE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the copy, new; without it, KIT-backup beside the kit.")
    ] = None,
) -> None:
    """Copy the server's kit with keys, database and runs, while it runs; the copy can take its place."""
    with readable_errors():
        from werkbund.flower.server.kit import back_up

        place = kit.resolve()
        target = place.with_name(f"{place.name}-backup") if out is None else out
        if target.resolve().is_relative_to(place):
            raise ConfigError(
                f"--out must lie outside the kit, got {target}; else each copy would hold the ones before"
            )
        print_line(f"Copied to {back_up(kit, target)}; it holds the server's private keys.")
        print_line("Before it takes this kit's place on another machine, copy the kit's revoked/ into it.")


def _watch(submitted: SubmittedRun, detach: bool, as_json: bool) -> None:
    """Show a run's rounds until it ends, and then what came of it; with `detach`, only that it has started."""
    from werkbund.flower.server.submission import run_summary

    if detach:
        if as_json:
            print_json({"run_dir": str(submitted.folder), "run_id": submitted.run_id})
        else:
            print_line(f"Run {submitted.run_id} has started: {submitted.folder}")
        return
    _follow(submitted)
    if as_json:
        print_json(run_summary(submitted.folder))
    else:
        show_deployed(submitted.folder)


def _follow(submitted: SubmittedRun) -> None:
    """Show a run's rounds until it ends; Ctrl-C stops the showing and not the run."""
    console = progress()
    with LiveRounds(console) as live:
        try:
            submitted.follow(live, lambda checks: show_checks(console, checks))
        except KeyboardInterrupt:
            live.stage("no longer watched")
            line = (
                f"The run goes on without being watched; `werkbund server watch {submitted.folder}` watches it again, "
                f"`werkbund server stop --run {submitted.folder.name}` stops it."
            )
            console.print(line, soft_wrap=True)
            raise typer.Exit(STOPPED) from None
