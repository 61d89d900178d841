"""Commands about tables: predict, check, init, fetch."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from werkbund.cli.edge import (
    FAULT,
    ConfigArgument,
    JsonOption,
    RunArgument,
    SetOption,
    configured,
    output,
    print_json,
    print_line,
    progress,
    readable_errors,
)
from werkbund.cli.tables import findings_table, schema_table, show_reading
from werkbund.core.errors import ConfigError
from werkbund.core.files import write_atomically
from werkbund.core.text import fixed

if TYPE_CHECKING:
    import polars as pl

    from werkbund.data import Column, Preparation, Schema, Table
    from werkbund.data.time.windows import Telemetry
    from werkbund.model import Explanation

_REASONS = 3
"""Inputs that are named for each row, if `--explain` asks for reasons."""

DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="CSV, Excel or Parquet file, or a folder or pattern of such.")
]


def predict_command(
    run_dir: RunArgument,
    data: DataArgument,
    out: Annotated[Path | None, typer.Option("--out", help="CSV or Parquet file; without it, CSV on stdout.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add what moved each row's score most.")] = False,
    client: Annotated[str | None, typer.Option("--client", help="Whose rows these are, with clusters.")] = None,
    events: Annotated[
        Path | None, typer.Option("--events", help="Log of stops, where DATA holds readings of machines.")
    ] = None,
) -> None:
    """Score a table in raw units: probability of failure, and the decision at the cost threshold.

    Where the model reads windows, DATA holds readings with history, and a row a step and machine comes out.
    """
    with readable_errors():
        import polars as pl

        from werkbund.model import folder_of_client, load_model

        model = load_model(folder_of_client(run_dir, client))
        frame = _rows_to_score(data, run_dir, model.preparation)
        if model.preparation.telemetry is not None:
            frame = _points(model.preparation.telemetry, frame, run_dir, events)
        elif events is not None:
            raise ConfigError("--events must be left out where the model reads no windows, got a log; drop it")
        probability = model.score(frame)
        scored = frame.with_columns(
            pl.Series("failure_probability", probability),
            pl.Series("inspect", probability >= model.threshold_probability),
        )
        numbers = model.foretell(frame)
        if numbers is not None:
            scored = scored.with_columns(pl.Series(f"foretold {model.label}", numbers))
        if explain:
            scored = scored.with_columns(pl.Series("reasons", _reasons(model.explain(frame))))
        _write(scored, out)
        progress().print(
            f"{int(scored['inspect'].sum())} of {scored.height} rows reach the threshold "
            f"{fixed(model.threshold_probability, 4)}" + (f"; written to {out}" if out else ""),
            soft_wrap=True,
            highlight=False,
        )


def _points(telemetry: Telemetry, frame: pl.DataFrame, run: Path, events: Path | None) -> pl.DataFrame:
    """Return the windows of readings, by zone and log columns of the run where its configuration is there."""
    import time

    from werkbund.config import Config, load_config
    from werkbund.data import Dialect, source_for
    from werkbund.data.time.clock import Clock
    from werkbund.data.time.events import LogTable

    config = run / "config.toml"
    described = (load_config(config) if config.is_file() else Config()).data
    log = None
    if events is not None:
        columns = described.events.model_copy(update={"start": described.events.start or telemetry.time})
        table = source_for(events, Dialect(described.events.separator)).read()[0]
        log = LogTable.of(table, columns.model_dump(), telemetry.machine, described.client)
    site = described.client if described.client in frame.columns else None
    return telemetry.points(frame, Clock(described.zone), time.time_ns() // 1000, log, site)


def _rows_to_score(data: Path, run_dir: Path, learnt: Preparation) -> pl.DataFrame:
    """Return the rows of a file in the units of a model; it is read as that of the run was where it does not tell."""
    from werkbund.data import source_for
    from werkbund.data.dialect import dialect_of_run
    from werkbund.data.mapping import in_units

    frame, origin = source_for(data, usual=dialect_of_run(run_dir)).read()
    frame, origin = in_units(frame, origin, dict(zip(learnt.numeric, learnt.units, strict=False)))
    show_reading(origin.reading, progress())
    return frame


def _reasons(explanation: Explanation) -> list[str]:
    """Return the parts that move each row's score most, in words: `torque +1.20; speed -0.40`."""
    order = (-abs(explanation.parts)).argsort(axis=1, kind="stable")[:, :_REASONS]
    return [
        "; ".join(f"{explanation.names[place]} {parts[place]:+.3g}" for place in places if parts[place])
        for parts, places in zip(explanation.parts, order.tolist(), strict=True)
    ]


def check_command(
    data: DataArgument, config: ConfigArgument = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """Look for what is wrong with a table before anything is trained."""
    with readable_errors():
        from werkbund.data.checks import check
        from werkbund.federation.tables import read_table

        table = read_table(configured(config, data, settings))
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
            if table.origin.reading.sentence():
                print_line(f"Read as: {table.origin.reading.sentence()}.")
            print_line("")
            console.print(schema_table(columns))
            console.print()
            console.print(findings_table(findings) if findings else "Nothing speaks against learning from it.")
    if "error" in worst:
        raise typer.Exit(FAULT)


def init_command(
    data: DataArgument,
    label: Annotated[str | None, typer.Option("--label", help="Column that says whether a failure followed.")] = None,
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


def _write(frame: pl.DataFrame, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(frame.write_csv())
        return
    content = BytesIO()
    if out.suffix.lower() in (".parquet", ".pq"):
        frame.write_parquet(content)
    else:
        frame.write_csv(content)
    if out.exists() and not out.is_file():  # such as a pipe
        out.write_bytes(content.getvalue())
    else:
        write_atomically(out.resolve(), content.getvalue())


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
    kinds = {column.name: f"feature, {column.kind}" for column in schema.features}
    return kinds.get(name, "not used")
