"""The command that lists methods, and prints the card of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from werkbund.cli.edge import JsonOption, output, print_json, readable_errors
from werkbund.cli.tables import plain_table


def strategies_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Method whose card is printed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the methods by kind, or print the card of one: rule, source, what it needs, costs and reveals."""
    with readable_errors():
        from werkbund.cli.cards import strategies, strategy_card

        content: dict[str, Any] = strategies() if name is None else strategy_card(name)
        if as_json:
            print_json(content)
        elif name is None:
            _print_list(content)
        else:
            _print_card(content)


def _print_list(methods_by_kind: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    console = output()
    for kind, methods in methods_by_kind.items():
        table = plain_table(kind.capitalize())
        for column in ("name", "method", "why", "unbiased", "secure sums"):
            table.add_column(column, overflow="fold")
        for method in methods:
            marks = ("yes" if method["unbiased"] else "", "yes" if method["secure_aggregation"] else "")
            table.add_row(Text(method["name"], style="bold"), Text(method["title"]), Text(method["policy"]), *marks)
        console.print(table)
        console.print()
    console.print("`werkbund strategies NAME` prints the card of one.", style="dim", markup=False)


def _print_card(card: Mapping[str, Any]) -> None:
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
