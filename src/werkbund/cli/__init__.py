"""The command line: the one place that prints."""

from __future__ import annotations

from typing import Annotated

import typer

from werkbund._version import __version__
from werkbund.cli.alarms import alarms_command
from werkbund.cli.audit import audit_command
from werkbund.cli.bench import bench_command
from werkbund.cli.client import app as client_app
from werkbund.cli.dashboard import dashboard_command
from werkbund.cli.data import check_command, fetch_command, init_command
from werkbund.cli.provision import provision_command
from werkbund.cli.server import app as server_app
from werkbund.cli.strategies import strategies_command
from werkbund.cli.train import compare_command, report_command, resume_command, run_command
from werkbund.cli.up import up_command
from werkbund.cli.work import predict_command, serve_command, watch_command

app = typer.Typer(
    name="werkbund",
    help="Federated learning for predictive maintenance: plants learn together, data stays home.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
for _name, _command in (
    ("run", run_command),
    ("compare", compare_command),
    ("up", up_command),
    ("bench", bench_command),
    ("audit", audit_command),
    ("strategies", strategies_command),
    ("resume", resume_command),
    ("report", report_command),
    ("dashboard", dashboard_command),
    ("predict", predict_command),
    ("alarms", alarms_command),
    ("serve", serve_command),
    ("watch", watch_command),
    ("check", check_command),
    ("init", init_command),
    ("fetch", fetch_command),
    ("provision", provision_command),
):
    app.command(_name)(_command)
app.add_typer(server_app, name="server")
app.add_typer(client_app, name="client")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()


__all__ = ["app", "main"]
