"""What people see of a federation over a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from werkbund.cli.edge import output
from werkbund.cli.tables import comparison_table
from werkbund.federation.folder import Folder

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}
_VERDICTS = {True: ("taken", "green"), False: ("refused", "yellow"), None: ("no answer", "red")}


def show_checks(console: Console, checks: Sequence[Mapping[str, Any]], only_faults: bool = False) -> None:
    """Show what clients said about themselves before the first round."""
    faults = [check for check in checks if check["level"] != "ok"]
    if only_faults and not faults:
        return
    table = plain_table("Before the first round")
    for name in ("client", "state", "what", "what to do"):
        table.add_column(name, overflow="fold")
    for check in checks:
        state = Text(str(check["level"]), style=_STYLES.get(str(check["level"]), ""))
        table.add_row(Text(str(check["client"])), state, Text(str(check["what"])), Text(str(check["remedy"]) or "-"))
    console.print(table)


def show_deployed(folder: Path) -> None:
    """Show how a finished run went, and what became of the model at each client."""
    console, run = output(), Folder.existing(folder)
    about, result = run.read_json("run.json"), run.read_json("result.json")
    data = about["data"]
    size = f"{data['rows']} training rows, {data['positives']} failures, {len(about['clients'])} clients"
    console.print(f"\n{size}, {result['rounds']} rounds in {result['seconds']:.0f} s.\n", highlight=False)
    console.print(comparison_table(result["metrics"]))
    console.print()
    console.print(delivery_table(result["delivered"]))
    files = f"\nReport: {folder / 'report.html'}\nModel:  {folder / 'model.onnx'}"
    console.print(files, soft_wrap=True, highlight=False)


def delivery_table(delivered: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return what each client made of the model."""
    table = plain_table("The model at the plants")
    for name in ("client", "model", "why"):
        table.add_column(name, overflow="fold")
    for name, verdict in delivered.items():
        word, style = _VERDICTS[verdict["accepted"]]
        table.add_row(Text(name), Text(word, style=style), Text(str(verdict["reason"])))
    return table


def plain_table(title: str) -> Table:
    """Return an empty table in the house's style."""
    padding = (0, 2, 0, 0)
    return Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, padding=padding)
