"""Commands of a model at work: predict, serve, watch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from werkbund.cli.edge import DataArgument, JsonOption, print_json, print_line, progress, readable_errors
from werkbund.cli.tables import show_reading
from werkbund.core.errors import ConfigError
from werkbund.core.files import write_atomically
from werkbund.core.text import fixed

if TYPE_CHECKING:
    import polars as pl

    from werkbund.config.rows import DataSection
    from werkbund.data.preparation import Preparation
    from werkbund.data.time.events import LogTable
    from werkbund.data.time.windows import Telemetry
    from werkbund.inference import ModelPlace, ScoredRows, Scorer

DRIFT = 1
"""Exit status of a look that found drift."""

_SHORTEST_TOKEN = 16
_ODDITIES = 8
"""Oddities of rows that are told one by one."""

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Folder of a run, or its folder model or file model.onnx.")
]
EventsOption = Annotated[
    Path | None, typer.Option("--events", help="Log of stops, where DATA holds readings of machines.")
]
ClientOption = Annotated[str | None, typer.Option("--client", help="Whose rows these are, with clusters.")]


def predict_command(
    model: ModelArgument,
    data: DataArgument,
    out: Annotated[Path | None, typer.Option("--out", help="CSV or Parquet file; without it, CSV on stdout.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add why each row has its decision, in words.")] = False,
    client: ClientOption = None,
    events: EventsOption = None,
) -> None:
    """Score a table in raw units: probability of failure, decision at the cost threshold, and its expected cost.

    A row that is outside of what the model can know gets no score, and a warning says why. Where DATA has the label,
    the decisions are compared with it. Where the model reads windows, DATA holds readings with history, and a row a
    step and machine comes out.
    """
    with readable_errors():
        from werkbund.inference import ModelPlace, Scorer

        place = ModelPlace.of(model, client)
        scorer = Scorer.load(place)
        frame = rows_to_score(data, place, scorer.preparation, events)
        scored = scorer.score(frame)
        _write(_with_scores(frame, scored, scorer, place if explain else None), out)
        _tell(frame, scored, scorer, place, out)


def serve_command(
    model: ModelArgument,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port to listen at.")] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Holds the token that callers must send; needed beyond this machine."),
    ] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", help="For TLS, in PEM form.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Of the certificate, in PEM form.")] = None,
    client: ClientOption = None,
) -> None:
    """Answer over HTTP as `predict` does: /predict, /predict/batch, /model, /health, /metrics, /openapi.json.

    It listens at this machine alone unless told otherwise, and beyond it for callers with a token alone.
    """
    with readable_errors():
        from werkbund.inference import ModelPlace, Scorer
        from werkbund.model import load_model

        token = _token(host, token_file)
        if (certificate is None) != (key is None):
            raise ConfigError("--certificate and --key must be given together, got one of them; name both")
        try:
            import uvicorn

            from werkbund.inference.service import service
        except ImportError as error:
            raise ConfigError(
                f"serving needs the package {error.name}, which is not installed; run: pip install 'werkbund[serve]'"
            ) from error
        place = ModelPlace.of(model, client)
        app = service(Scorer.load(place), lambda: load_model(place.folder), token)
        scheme = "http" if certificate is None else "https"
        progress().print(f"Serving {place.folder} at {scheme}://{host}:{port}; Ctrl-C ends it.", soft_wrap=True)
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
        config.ssl_certfile, config.ssl_keyfile = certificate, key
        uvicorn.Server(config).run()


def watch_command(
    model: ModelArgument,
    data: DataArgument,
    as_json: JsonOption = False,
    client: ClientOption = None,
    events: EventsOption = None,
) -> None:
    """Compare new rows, in the order in which they were taken, with those that the model was made with.

    Each column and the score are compared with the histograms that lie beside the model. Rows that have not drifted
    give an alarm with a chance of at most 5 %. The exit status is 1 with an alarm.
    """
    with readable_errors():
        from werkbund.inference import ModelPlace, Scorer, look
        from werkbund.model.reference import ModelReference

        place = ModelPlace.of(model, client)
        scorer = Scorer.load(place)
        reference = ModelReference.read(place.home)
        found = look(scorer, reference, rows_to_score(data, place, scorer.preparation, events))
        if as_json:
            print_json(found.to_json())
        else:
            for moved in found.alarms:
                print_line(moved.text)
            print_line(f"{len(found.alarms)} of {len(found.moved)} columns drifted, over {found.rows} rows.")
            print_line(found.advice)
    if found.alarms:
        raise typer.Exit(DRIFT)


def _token(host: str, file: Path | None) -> str | None:
    """Return the token that callers must send; None where this machine alone is listened to and none is named."""
    from werkbund.core.hosts import is_loopback

    if file is None and is_loopback(host):
        return None
    if file is None:
        raise ConfigError(
            f"--host {host} is more than this machine and needs --token-file; write a long random text into a file, "
            "such as by: openssl rand -hex 32 > token"
        )
    token = file.read_text(encoding="utf-8").strip()
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or " " in token:
        raise ConfigError(
            f"--token-file must hold a token of {_SHORTEST_TOKEN} letters or more without blanks, got {len(token)}; "
            "write a longer one"
        )
    return token


def rows_to_score(data: Path, place: ModelPlace, learnt: Preparation, events: Path | None = None) -> pl.DataFrame:
    """Return the rows of a file in the units of a model; it is read as that of the run was where it does not tell."""
    from werkbund.data.dialect import dialect_of_run
    from werkbund.data.mapping import in_units
    from werkbund.data.sources import source_for

    frame, origin = source_for(data, usual=dialect_of_run(place.home)).read()
    frame, origin = in_units(frame, origin, dict(zip(learnt.numeric, learnt.units, strict=False)))
    show_reading(origin.reading, progress())
    if learnt.telemetry is not None:
        return _points(learnt.telemetry, frame, place.home, events)
    frame = _with_unmeasured(frame, learnt)
    if events is not None:
        raise ConfigError("--events must be left out where the model reads no windows, got a log; drop it")
    return frame


def _with_unmeasured(frame: pl.DataFrame, learnt: Preparation) -> pl.DataFrame:
    """Return rows with an empty column for each number that they have not and that had gaps in training, which is said.

    A plant that never measured it was learnt from in this way. Where none had gaps, the model refuses the rows.
    """
    import polars as pl

    absent = [name for name in learnt.numeric if name not in frame.columns and name in learnt.missing]
    for name in absent:
        progress().print(f"{name}: the table has no such column: empty here.", soft_wrap=True, markup=False)
    return frame.with_columns(pl.lit(None, pl.Float64).alias(name) for name in absent)


def _points(telemetry: Telemetry, frame: pl.DataFrame, home: Path, events: Path | None) -> pl.DataFrame:
    """Return the windows of readings, by zone and log columns of the run where its configuration is there."""
    import time

    from werkbund.config import Config, load_config
    from werkbund.data.time.clock import Clock

    config = home / "config.toml"
    described = (load_config(config) if config.is_file() else Config()).data
    log = None if events is None else log_at(events, described, telemetry)
    site = described.client if described.client in frame.columns else None
    return telemetry.points(frame, Clock(described.zone), time.time_ns() // 1000, log, site)


def log_at(events: Path, described: DataSection, telemetry: Telemetry) -> LogTable | None:
    """Return a log of stops whose columns a run describes; where it names no start, that has the name of the time."""
    from werkbund.federation.tables import log_of

    columns = {"path": str(events), "start": described.events.start or telemetry.time}
    return log_of(described.events.model_copy(update=columns), telemetry.machine, described.client)


def _with_scores(frame: pl.DataFrame, scored: ScoredRows, scorer: Scorer, explained: ModelPlace | None) -> pl.DataFrame:
    """Return rows with what the model says of each, and why if the place of the model is given."""
    import polars as pl

    said = [
        pl.Series("failure_probability", scored.probability).fill_nan(None),
        pl.Series("inspect", scored.inspect).set(pl.Series(scored.outside), None),
    ]
    costs = scorer.expected_costs(scored)
    said += [] if costs is None else [pl.Series("expected_cost", costs).fill_nan(None)]
    if scored.foretold is not None:
        said.append(pl.Series(f"foretold {scorer.label}", scored.foretold).fill_nan(None))
    said.append(pl.Series("outside", scored.why_outside(), pl.String))
    if explained is not None:
        from werkbund.inference import Reasons, sentence
        from werkbund.model import load_model

        told = Reasons(scorer.preparation).of(frame, load_model(explained.folder).explain(frame), scored.inspect)
        rows = zip(told, scored.inspect.tolist(), scored.outside.tolist(), strict=True)
        texts = ["" if off else sentence(each, scorer.label, towards) for each, towards, off in rows]
        said.append(pl.Series("reasons", texts))
    return frame.with_columns(said)


def _tell(frame: pl.DataFrame, scored: ScoredRows, scorer: Scorer, place: ModelPlace, out: Path | None) -> None:
    """Say in a few lines what came out, what is odd about the rows, and how good the decisions were where it shows."""
    from werkbund.inference import together

    console = progress()

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)

    grave, slight = ([odd for odd in scored.oddities if odd.is_outside is off] for off in (True, False))
    told = [(text, "yellow") for text in together(grave)] + [(text, "") for text in together(slight)]
    for text, style in told[:_ODDITIES]:
        line(f"Warning: {text}", style)
    if len(told) > _ODDITIES:
        line(f"Warning: {len(told) - _ODDITIES} more; the column 'outside' names them row by row", "yellow")
    line(
        f"{int(scored.inspect.sum())} of {frame.height} rows reach the threshold "
        f"{fixed(scorer.threshold_probability, 4)}"
        + (f", {int(scored.outside.sum())} have no score" if scored.outside.any() else "")
        + (f"; written to {out}" if out else "")
    )
    if scorer.label in frame.columns and frame[scorer.label].is_not_null().any():
        for text in _figures(frame, scored, scorer, place):
            line(text)


def _figures(frame: pl.DataFrame, scored: ScoredRows, scorer: Scorer, place: ModelPlace) -> list[str]:
    """Return in words how good the decisions were on the rows whose label is known.

    Where the run took a row without a value for one without a failure, so is it here.
    """
    from werkbund.data.targets import with_label
    from werkbund.inference import Figures

    said = _data_section(place)
    positive, empty = said.get("positive"), said.get("empty_label")
    if empty is not None:
        frame = with_label(frame, scorer.label, empty)
    mask = frame[scorer.label].is_not_null()
    known, told = frame.filter(mask), scored.of(mask)
    values = tuple(positive) if isinstance(positive, list) else positive
    error = scorer.error(known, told)
    lines = [] if error is None else [f"{scorer.label} is foretold with a root mean squared error of {error:.4g}."]
    return lines + Figures.of(scorer.labels(known, values), told, scorer.costs).sentences(scorer.event)


def _data_section(place: ModelPlace) -> Mapping[str, Any]:
    """Return what the configuration of the run beside a model says of its table; nothing where there is none."""
    import tomllib

    try:
        said = tomllib.loads((place.home / "config.toml").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError):
        return {}
    return said if isinstance(said, dict) else {}


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
