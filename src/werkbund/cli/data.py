"""Commands about tables: check, init, fetch."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from werkbund.cli.edge import (
    FAULT,
    ConfigArgument,
    DataArgument,
    JsonOption,
    SetOption,
    configured,
    output,
    print_json,
    print_line,
    readable_errors,
)
from werkbund.cli.tables import findings_table, schema_table, show_reading
from werkbund.core.errors import ConfigError
from werkbund.core.files import write_atomically

if TYPE_CHECKING:
    from werkbund.config import Config
    from werkbund.data import Column, Schema, Table
    from werkbund.draft.data_section import Draft
    from werkbund.draft.label import Label


def check_command(
    data: DataArgument, config: ConfigArgument = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """Look for what is wrong with a table before anything is trained."""
    with readable_errors():
        from werkbund.data.checks import check
        from werkbund.federation.tables import read_table

        loaded, drafted = _described(data, config, settings)
        table = read_table(loaded)
        findings = [finding.to_json() for finding in check(table)]
        columns = _columns(table)
        worst = {str(finding["level"]) for finding in findings}
        if as_json:
            print_json(
                {"data": table.origin.to_json(), "rows": table.num_rows, "columns": columns, "findings": findings}
            )
        else:
            console = output()
            print_line(f"{table.origin.note} {table.num_rows} rows.")
            if drafted:
                print_line(f"Without a configuration it is checked as `werkbund init` describes it: {drafted}.")
            if table.origin.reading.sentence():
                print_line(f"Read as: {table.origin.reading.sentence()}.")
            print_line("")
            console.print(schema_table(columns))
            console.print()
            console.print(findings_table(findings) if findings else "Nothing speaks against learning from it.")
    if "error" in worst:
        raise typer.Exit(FAULT)


def _described(data: Path, config: Path | None, settings: list[str] | None) -> tuple[Config, str]:
    """Return a configuration for a table, and how it was drafted: nothing where one was given or the table is known."""
    from werkbund.data import recognise, source_for
    from werkbund.data.cmapss import is_cmapss
    from werkbund.draft import draft_of, text_of

    loaded = configured(config, data, settings)
    described = loaded.data.label or loaded.data.windows.step or is_cmapss(data)
    if config is not None or described or recognise(source_for(data).read()[0]) is not None:
        return loaded, ""
    with TemporaryDirectory() as folder:
        draft = draft_of(data, client=loaded.data.client, config_folder=Path(folder))
        drafted = Path(folder) / "federation.toml"
        drafted.write_text(text_of(draft), encoding="utf-8")
        return configured(drafted, None, settings), _taken(draft)


def _taken(draft: Draft) -> str:
    """Return what a draft takes for label and clients."""
    label, files = draft.label, draft.files.by_client
    played = f"; no column names plants, so that {draft.sizes.count} parts of the rows play them"
    clients = f", the clients by {draft.roles.client!r}" if draft.roles.client else played
    clients = f", each of {len(files)} files is a client" if files else clients
    marked = [
        f"; {', '.join(map(str, feature.column.missing))} in {feature.column.name!r} stand for no reading"
        for feature in draft.features
        if feature.column.missing
    ]
    return f"the label is {label.name!r}, {_found(label)}{clients}{''.join(marked)}"


def _found(label: Label) -> str:
    """Return what a label says of the rows: how many failures, and what counts as one where that is not plain."""
    from werkbund.core.target import NumberTarget

    if isinstance(label.target, NumberTarget):
        within = f"of {label.rows} rows {label.positives} are at most {label.target.horizon:g} and count as failures"
        return f"a number, which is foretold as such; {within}"
    values = label.positive if isinstance(label.positive, tuple) else (label.positive,)
    named = f" ({', '.join(map(repr, values))})" if label.positive is not None else ""
    return f"{label.positives} failures{named} in {label.rows} rows"


def init_command(
    data: DataArgument,
    label: Annotated[str | None, typer.Option("--label", help="Column to foretell; found out if left out.")] = None,
    events: Annotated[
        Path | None, typer.Option("--events", help="Or a log of failures; DATA then holds readings.")
    ] = None,
    client: Annotated[str | None, typer.Option("--client", help="Column with the plant.")] = None,
    positive: Annotated[
        list[str] | None, typer.Option("--positive", help="Value of the label that means failure; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("federation.toml"),
    separator: Annotated[str | None, typer.Option("--separator", help="Between fields; found out if left out.")] = None,
    decimal: Annotated[str | None, typer.Option("--decimal", metavar=",|.", help="Before decimals.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of a text file, such as cp1252.")] = None,
    skip: Annotated[int | None, typer.Option("--skip", min=0, help="Lines above the header.")] = None,
    no_header: Annotated[bool, typer.Option("--no-header", help="The file has no line of names.")] = False,
    units_row: Annotated[bool, typer.Option("--units-row", help="The line beneath the header holds units.")] = False,
    sheet: Annotated[str | None, typer.Option("--sheet", help="Of a workbook.")] = None,
) -> None:
    """Look at a table of one's own and write a commented configuration that runs as it is."""
    with readable_errors():
        from werkbund.data import Dialect
        from werkbund.draft import draft_of, text_of

        if out.exists():
            raise ConfigError(f"--out must name a new file, got {out}, which exists; choose another or remove it")
        if decimal not in (None, ",", "."):
            raise ConfigError(f"--decimal must be a comma or a point, got {decimal!r}")
        dialect = Dialect(
            separator={"tab": "\t", "\\t": "\t"}.get(separator, separator) if separator else None,
            decimal_comma=None if decimal is None else decimal == ",",
            encoding=encoding,
            skip=skip,
            header=False if no_header else None,
            units_row=units_row or None,
            sheet=sheet,
        )
        folder = out.resolve().parent
        draft = draft_of(
            data, label=label, client=client, positive=positive, events=events, dialect=dialect, config_folder=folder
        )
        write_atomically(out, text_of(draft).encode())
        print_line(f"Taken: {_taken(draft)}.")
        show_reading(draft.files.reading, output())
        for column in draft.excluded:
            print_line(f"{column.name}: left out: {column.reason}")
        print_line(f"Wrote {out}. Read it, then: werkbund run {out}")


def fetch_command(name: Annotated[str, typer.Argument(metavar="NAME", help="ai4i2020")]) -> None:
    """Download a public data set into the user's cache, and verify its checksum."""
    with readable_errors():
        from werkbund.data.ai4i import fetch_ai4i, user_cache

        if name != "ai4i2020":
            raise ConfigError(f"NAME must be ai4i2020, got {name!r}; other tables are read from where they lie")
        print_line(f"AI4I 2020 lies in {fetch_ai4i(user_cache())}")


def _columns(table: Table) -> list[dict[str, Any]]:
    """Return what each column of the table is taken for."""
    features = {column.name: column for column in table.schema.features}
    lines: list[dict[str, Any]] = []
    for name in table.frame.columns:
        feature = features.get(name)
        unit, between = (feature.unit, _range(feature)) if feature else ("", "")
        lines.append({"name": name, "role": _role(table.schema, name), "unit": unit, "range": between})
    for derived in table.schema.derived:
        lines.append(
            {"name": derived.name, "role": f"derived: {derived.expression}", "unit": derived.unit, "range": ""}
        )
    return lines


def _range(column: Column) -> str:
    if column.low is None and column.high is None:
        return ""
    ends = ["" if end is None else f"{end:g}" for end in (column.low, column.high)]
    return " .. ".join(ends)


def _role(schema: Schema, name: str) -> str:
    if name in schema.forbidden:
        return "label" if name == schema.label else f"no feature: {schema.forbidden[name]}"
    if name == schema.time:
        return "no feature: the time of a row"
    kinds = {column.name: f"feature, {column.kind}" for column in schema.features}
    return kinds.get(name, "not used")
