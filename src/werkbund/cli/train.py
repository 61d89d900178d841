"""Commands that train: run, compare, resume, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from werkbund.cli.edge import output, print_json, progress, readable_errors
from werkbund.cli.live import LiveRounds
from werkbund.cli.tables import comparison_table, differences_table, seeds_table
from werkbund.config import Config, changed, load_config
from werkbund.federation import Run, compare, resume, run
from werkbund.report import judge, read_run, write_report

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="federation.toml; without one, the built-in federation.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Table to learn from, in place of data.path.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as federation.rounds=50.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run, new or empty.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else there.")]


def configured(config: Path | None, data: Path | None, settings: list[str] | None, seed: int | None = None) -> Config:
    """Return the configuration that the arguments describe."""
    loaded = load_config(config, settings or [])
    if data is not None:
        loaded = changed(loaded, data={"path": str(data.resolve()), "clients": {}})
    return loaded if seed is None else changed(loaded, federation={"seed": seed})


def run_command(
    config: ConfigArgument = None,
    data: DataOption = None,
    settings: SetOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the whole run.")] = None,
    out: OutOption = None,
    no_compare: Annotated[bool, typer.Option("--no-compare", help="Train the federation alone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a federation, compare it with what plants could do without, and write model and report."""
    with readable_errors():
        loaded = configured(config, data, settings, seed)
        with LiveRounds(progress()) as live:
            done = run(loaded, out=out, compare=not no_compare, watcher=live, command=_command())
        _show(done, as_json)


def compare_command(
    config: ConfigArgument = None,
    data: DataOption = None,
    settings: SetOption = None,
    seeds: Annotated[int, typer.Option(min=2, help="How many seeds.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the comparison over several seeds, with confidence intervals."""
    with readable_errors():
        loaded = configured(config, data, settings)
        with LiveRounds(progress()) as live:
            numbers = range(first_seed, first_seed + seeds)
            done = compare(loaded, numbers, out=out, watcher=live, command=_command())
        if as_json:
            print_json({"run_dir": str(done.folder), **done.table})
            return
        console = output()
        console.print(seeds_table(done.table))
        console.print()
        console.print(differences_table(done.table))
        console.print(f"\n{judge(read_run(done.folder)).sentence}", soft_wrap=True, highlight=False)
        console.print(f"\nReport: {done.folder / 'report.html'}", soft_wrap=True, highlight=False)


def resume_command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")], as_json: JsonOption = False
) -> None:
    """Go on with a run that was stopped, to the same result."""
    with readable_errors():
        with LiveRounds(progress()) as live:
            done = resume(run_dir, watcher=live)
        _show(done, as_json)


def report_command(run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]) -> None:
    """Write the report of a run anew from what lies in its folder."""
    with readable_errors():
        output().print(f"Report: {write_report(run_dir)}", soft_wrap=True)


def _show(done: Run, as_json: bool) -> None:
    if as_json:
        print_json(done.summary)
        return
    console, summary, data = output(), done.summary, done.summary["data"]
    size = f"{data['rows']} rows, {data['positives']} failures, {summary['clients']} clients"
    pace = f"{summary['rounds']} rounds in {summary['seconds']:.0f} s"
    console.print(f"\n{data['note']} {size}, {pace}.\n", soft_wrap=True, highlight=False)
    console.print(comparison_table(summary["metrics"]))
    console.print(f"\n{judge(read_run(done.folder)).sentence}", soft_wrap=True, highlight=False)
    for limit in summary["limits"]:
        console.print(f"\n{limit}", soft_wrap=True, highlight=False)
    console.print(f"\nReport: {done.report}\nModel:  {done.folder / 'model.onnx'}", soft_wrap=True, highlight=False)


def _command() -> list[str]:
    return ["werkbund", *sys.argv[1:]]
