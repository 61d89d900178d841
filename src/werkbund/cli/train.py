"""Commands that train: run, compare, resume, report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from werkbund.cli.edge import (
    ConfigArgument,
    DataOption,
    JsonOption,
    OutOption,
    RunArgument,
    SeedOption,
    SetOption,
    configured,
    output,
    print_json,
    print_line,
    progress,
    readable_errors,
)
from werkbund.cli.live import LiveRounds
from werkbund.cli.tables import comparison_table, differences_table, findings_table, seeds_table, show_verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from werkbund.data.checks import Finding
    from werkbund.federation import Run


def run_command(
    config: ConfigArgument = None,
    data: DataOption = None,
    settings: SetOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
    no_compare: Annotated[bool, typer.Option("--no-compare", help="Train the federation alone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a federation, compare it with what plants could do without, and write model and report."""
    with readable_errors():
        from werkbund.federation import run

        loaded = configured(config, data, settings, seed)
        with LiveRounds(progress()) as live:
            finished = run(loaded, out=out, compare=not no_compare, watcher=live, seen=_seen, command=_command())
        _show(finished, as_json)


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
        from werkbund.federation import compare
        from werkbund.report import attack_sentence, read_run

        loaded = configured(config, data, settings)
        with LiveRounds(progress()) as live:
            numbers = range(first_seed, first_seed + seeds)
            comparison = compare(loaded, numbers, out=out, watcher=live, command=_command())
        if as_json:
            print_json({"run_dir": str(comparison.folder), **comparison.table})
            return
        console = output()
        attackers = attack_sentence(read_run(comparison.folder))
        if attackers:
            print_line(f"{attackers}\n")
        note = str(comparison.table.get("note", ""))
        if note:
            print_line(f"{note}\n")
        console.print(seeds_table(comparison.table))
        console.print()
        console.print(differences_table(comparison.table))
        show_verdict(comparison.folder)
        print_line(f"\nReport: {comparison.folder / 'report.html'}")


def resume_command(run_dir: RunArgument, as_json: JsonOption = False) -> None:
    """Go on with a run that was stopped, to the same result."""
    with readable_errors():
        from werkbund.federation import resume

        if all((run_dir / name).is_file() for name in ("result.json", "report.html")):
            _say_finished(run_dir, as_json)
            return
        with LiveRounds(progress()) as live:
            finished = resume(run_dir, watcher=live)
        _show(finished, as_json)


def report_command(run_dir: RunArgument) -> None:
    """Write the report of a run anew from what lies in its folder."""
    with readable_errors():
        from werkbund.report import write_report

        output().print(f"Report: {write_report(run_dir)}", soft_wrap=True)


def _show(finished: Run, as_json: bool) -> None:
    """Print how a run went: what it learnt from, the contenders, the verdict and its limits."""
    if as_json:
        print_json(finished.summary)
        return
    from werkbund.report import attack_sentence, read_run

    summary, data = finished.summary, finished.summary["data"]
    size = f"{data['rows']} rows, {data['positives']} failures, {summary['clients']} clients"
    pace = f"{summary['rounds']} rounds in {summary['seconds']:.0f} s"
    attackers = attack_sentence(read_run(finished.folder))
    print_line(f"\n{attackers}\n" if attackers else "")
    print_line(f"{data['note']} {size}, {pace}.")
    print_line(f"Read as: {sentence}.\n" if (sentence := data["reading"]["sentence"]) else "")
    output().print(comparison_table(summary["metrics"], summary["own_rows"]))
    show_verdict(finished.folder)
    for limit in summary["limits"]:
        print_line(f"\n{limit}")
    print_line(f"\nReport: {finished.report}\nModel:  {finished.folder / 'model.onnx'}")


def _say_finished(folder: Path, as_json: bool) -> None:
    """Say of a run that there is nothing to go on with; it stays as it is."""
    if as_json:
        print_json({"run_dir": str(folder), "finished": True})
        return
    print_line(f"{folder} is finished; nothing is left to do. Report: {folder / 'report.html'}")


def _seen(findings: Sequence[Finding]) -> None:
    """Show what the checks of the table warn of; what stops the run is said where it stops."""
    warnings = [finding.to_json() for finding in findings if finding.level == "warning"]
    if warnings:
        progress().print(findings_table(warnings))


def _command() -> list[str]:
    return ["werkbund", *sys.argv[1:]]
