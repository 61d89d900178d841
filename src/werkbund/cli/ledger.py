"""Commands about a plant's ledger: client ledger, and client evidence for who wants to see all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from werkbund.cli.edge import FAULT, JsonOption, output, print_json, print_line, readable_errors
from werkbund.cli.tables import plain_table

if TYPE_CHECKING:
    from werkbund.ledger import Verified

_SHOWN = 50
"""Entries in the terminal where no date is given."""

_IN_TERMINAL = ("line", "time", "kind", "run", "round", "task", "what left", "bytes", "why not")

LedgerArgument = Annotated[Path, typer.Argument(metavar="[KIT]", help="Folder of the plant's kit, or a ledger's file.")]
PublicKeyOption = Annotated[
    list[Path] | None,
    typer.Option("--public-key", help="The plant's client.pub, where its kit is not at hand; again for an older key."),
]


def ledger_command(
    kit: LedgerArgument = Path(),
    verify: Annotated[bool, typer.Option("--verify", help="Check each line; name the first bad one.")] = False,
    since: Annotated[str, typer.Option("--since", metavar="DATE", help="Show entries from this day on, in UTC.")] = "",
    as_json: JsonOption = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a file for a spreadsheet.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to read or print.")] = None,
    public_key: PublicKeyOption = None,
    receipts: Annotated[
        Path | None, typer.Option("--receipts", metavar="RUN", help="Compare with what the server of a run kept.")
    ] = None,
) -> None:
    """Show what was asked of this plant, answered and refused; anybody with its public key can verify it."""
    with readable_errors():
        from werkbund.audit.evidence import checked_ledger, ledger_page, spent_in
        from werkbund.core.files import write_atomically
        from werkbund.ledger.tables import rows_of, to_csv

        found = checked_ledger(kit, public_key or [], receipts)
        rows = rows_of(found.entries, _day(since))
        if csv is not None:
            write_atomically(csv, to_csv(rows).encode())
        if html is not None:
            write_atomically(html, ledger_page(found, rows).encode())
        if as_json:
            shown = [dict(entry) for entry in found.entries if str(entry["time"]) >= _day(since)]
            print_json({**found.to_json(), "epsilon": spent_in(found), "entries": shown})
        elif not verify and csv is None and html is None:
            output().print(_table(rows if since else rows[-_SHOWN:]))
        if not as_json:
            print_line(in_words(found))
            for name, spent in spent_in(found).items():
                print_line(f"Noised training has spent epsilon {spent:.4g} {name}.")
        if found.fault:
            raise typer.Exit(FAULT)


def evidence_command(
    kit: Annotated[Path, typer.Argument(metavar="[KIT]", help="Folder of the plant's kit.")] = Path(),
    out: Annotated[Path, typer.Option("--out", help="The pack, a .zip file.")] = Path("evidence.zip"),
    receipts: Annotated[
        Path | None, typer.Option("--receipts", metavar="RUN", help="Compare with what the server of a run kept.")
    ] = None,
    audit: Annotated[Path | None, typer.Option("--audit", help="Put in what `werkbund audit --json` wrote.")] = None,
) -> None:
    """Pack what a works council, a data protection officer or an auditor asks for: one file, and no row in it."""
    with readable_errors():
        from werkbund.audit.evidence import write_evidence

        found = write_evidence(kit, out, receipts, audit)
        print_line(in_words(found))
        print_line(f"Evidence: {out}   open index.html in it")
        if found.fault:
            raise typer.Exit(FAULT)


def in_words(found: Verified) -> str:
    """Return whether a ledger is whole."""
    if found.fault:
        return f"Line {found.line} {found.fault}. The {len(found.entries)} lines before it hold what they say."
    compared = f", and {found.num_receipts} receipts of the server fit" if found.num_receipts else ""
    return f"Whole: {len(found.entries)} lines, each signed and chained to the one before{compared}."


def _day(text: str) -> str:
    """Return a day as a ledger's times begin.

    Raises
    ------
    ConfigError
        If it is none.
    """
    from werkbund.core.errors import ConfigError

    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as error:
        raise ConfigError(f"--since must be a day such as 2026-11-30, got {text!r}") from error


def _table(rows: Sequence[Mapping[str, str]]) -> Table:
    table = plain_table("Ledger")
    for name in _IN_TERMINAL:
        table.add_column(name, overflow="fold", justify="right" if name in ("line", "round", "bytes") else "left")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in _IN_TERMINAL))
    return table
