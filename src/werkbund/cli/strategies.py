"""The command that lists methods, and prints the card of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from werkbund.cli.deployed import plain_table
from werkbund.cli.edge import output, print_json, readable_errors
from werkbund.cli.train import JsonOption
from werkbund.federation.strategies import strategies, strategy_card


def strategies_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Method whose card is printed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the methods by kind, or print the card of one: rule, source, what it needs, costs and reveals."""
    with readable_errors():
        found = strategies() if name is None else strategy_card(name)
        if as_json:
            print_json(found)
        elif name is None:
            _list(found)
        else:
            _card(found)


def _list(found: dict[str, Any]) -> None:
    console = output()
    for kind, methods in found.items():
        table = plain_table(kind.capitalize())
        for column in ("name", "method", "why", "unbiased", "secure sums"):
            table.add_column(column, overflow="fold")
        for one in methods:
            marks = ("yes" if one["unbiased"] else "", "yes" if one["secure_aggregation"] else "")
            table.add_row(Text(one["name"], style="bold"), Text(one["title"]), Text(one["policy"]), *marks)
        console.print(table)
        console.print()
    console.print("`werkbund strategies NAME` prints the card of one.", style="dim", markup=False)


def _card(card: dict[str, Any]) -> None:
    console = output()
    console.print(Text(f"{card['title']} ({card['name']}, {card['kind']})", style="bold"))
    console.print(Text(card["rule"]), soft_wrap=False)
    table = plain_table("")
    table.show_header = False
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in card["facts"].items():
        table.add_row(label, Text(value))
    console.print(table)
    for note in card["notes"]:
        console.print(Text(f"Note: {note}", style="dim"))
