"""The command that sets methods of selection against each other, or rules of aggregation against attacks."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from werkbund.cli.edge import (
    ConfigArgument,
    DataOption,
    JsonOption,
    SetOption,
    configured,
    output,
    print_json,
    print_line,
    progress,
    readable_errors,
)
from werkbund.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from werkbund.bench.runs import EndedRun
    from werkbund.config import Config
    from werkbund.report import BenchFolder, MatrixFolder
    from werkbund.report.bench import BenchLine

_LOCAL_WORK = "training.epochs=5"
"""With sixty clients each has few rows; one pass over them would be too little work between two rounds."""


def bench_command(
    config: ConfigArgument = None,
    data: DataOption = None,
    selectors: Annotated[
        str, typer.Option(help="Names with commas between, or all; -NAME leaves one out, file.py:Class is your own.")
    ] = "all",
    partitions: Annotated[str, typer.Option(help="Names with commas between, or all.")] = "all",
    seeds: Annotated[int, typer.Option(min=2, help="How many seeds.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    cohort: Annotated[int | None, typer.Option(min=1, help="Clients a round; 10 if nothing says otherwise.")] = None,
    target: Annotated[
        float | None, typer.Option(help="Average precision to reach, in place of 90% of what uniform ends with.")
    ] = None,
    tuning_seeds: Annotated[
        int, typer.Option(min=0, help="Seeds, the next ones, whose validation rows choose each method's momentum.")
    ] = 2,
    momenta: Annotated[
        str, typer.Option(help="Momenta of the server that are tried, with commas between.")
    ] = "0,0.5,0.9",
    attacks: Annotated[
        str | None,
        typer.Option(help="Attacks with commas between, or all: a bench of defences in place of selectors."),
    ] = None,
    defences: Annotated[
        str, typer.Option(help="With --attacks: rules of aggregation with commas between; all: those that see updates.")
    ] = "all",
    shares: Annotated[str, typer.Option(help="With --attacks: shares of attackers, with commas between.")] = "0.2",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if not given.")] = None,
    settings: SetOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; the same bench begun there is gone on with.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run every selector over several partitions and seeds, each against uniform at equal cost.

    With --attacks run rules of aggregation against attacks: `--attacks all`, or `--attacks "sign-flip kappa=2, alie"`.
    """
    with readable_errors():
        from werkbund.bench import bench, plan_of

        numbers = range(first_seed, first_seed + seeds)
        if attacks is not None:
            loaded = configured(config, data, settings)
            _defend(loaded, (defences, attacks, shares), numbers, workers, out, as_json)
            return
        defaults = [_LOCAL_WORK] if config is None else []
        loaded = configured(config, data, [*defaults, *(settings or [])])
        chosen = _names(selectors), _names(partitions)
        tried = _numbers(momenta, "--momenta")
        plan = plan_of(loaded, *chosen, numbers, cohort, target, tuning_seeds, tried)
        with BenchProgress(progress()) as meter:
            finished = bench(plan, out=out, workers=workers, listener=meter, command=["werkbund", *sys.argv[1:]])
        if as_json:
            print_json({"run_dir": str(finished.folder), "report": str(finished.report), **finished.result})
        else:
            _show(finished.folder)
            print_line(f"\nReport: {finished.report}")


def _defend(
    config: Config, lists: tuple[str, str, str], seeds: range, workers: int | None, out: Path | None, as_json: bool
) -> None:
    """Run rules of aggregation against attacks by shares of the clients, and print what each keeps."""
    from werkbund.bench import attack_plan, bench_defences

    defences, attacks, shares = lists
    plan = attack_plan(config, _names(defences), _names(attacks), _numbers(shares, "--shares"), seeds)
    with BenchProgress(progress()) as meter:
        finished = bench_defences(plan, out=out, workers=workers, listener=meter, command=["werkbund", *sys.argv[1:]])
    if as_json:
        print_json({"run_dir": str(finished.folder), "report": str(finished.report), **finished.result})
        return
    _show_matrix(finished.folder)
    print_line(f"\nReport: {finished.report}")


def _show_matrix(folder: Path) -> None:
    """Print a finished bench of defences: a table a share of attackers, and what the best keep."""
    from werkbund.report import matrix_sentence, read_matrix

    matrix, console = read_matrix(folder), output()
    wide = max((console.width - 20) // 13, 3)
    for share, first in product(matrix.shares, range(0, len(matrix.attacks), wide)):
        console.print(matrix_table(matrix, share, matrix.attacks[first : first + wide]))
    console.print(
        "Average precision on the honest plants' rows, in percent of what fedavg reaches where nobody attacks: the "
        "column reference; a run that was brought down counts 0. Behind a stroke, of a back door: failures that its "
        "pattern hides, in percent.",
        style="dim",
        soft_wrap=True,
        highlight=False,
    )
    print_line(f"\n{matrix_sentence(matrix)}")


def matrix_table(matrix: MatrixFolder, share: float, attacks: Sequence[str]) -> Table:
    """Return what each defence keeps under some attacks by a share of the clients: a line a defence."""
    table = Table(box=None, header_style="bold", padding=(0, 1), title=f"{share:.0%} of the plants attack")
    table.add_column("defence", overflow="fold", min_width=8, max_width=20)
    for attack in attacks:
        table.add_column(attack.replace("-", "-\n").replace(" ", "\n"), justify="right", overflow="fold", max_width=12)
    for defence in matrix.defences(share):
        cells = [matrix.cell(share, defence, attack) for attack in attacks]
        kept = [_number(100 * cell.of_default.mean, ".0f") for cell in cells]
        hidden = [_number(100 * cell.success.mean, ".0f") for cell in cells]
        enough = float(matrix.about["enough"])
        styles = ["green" if cell.of_default.mean >= enough else "" for cell in cells]
        texts = [value if door == "-" else f"{value}|{door}" for value, door in zip(kept, hidden, strict=True)]
        table.add_row(defence, *(Text(text, style) for text, style in zip(texts, styles, strict=True)))
    return table


def _show(folder: Path) -> None:
    """Print a finished bench: a line a method, and who beats uniform."""
    from werkbund.report import bench_sentence, read_bench

    results = read_bench(folder)
    console = output()
    console.print(summary_table(results))
    console.print(
        "Average precision (AP) minus what uniform reaches for the same bytes, energy, simulated time and examples, "
        "with 95% intervals over seeds; green and red where the interval leaves out zero.",
        style="dim",
        soft_wrap=True,
        highlight=False,
    )
    print_line(f"\n{bench_sentence(results)}")


def summary_table(results: BenchFolder) -> Table:
    """Return one line a method: against uniform at equal cost in each currency."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("method", overflow="fold", min_width=16, max_width=20)
    for head in ("AP", *results.currencies):
        table.add_column(head, justify="right", no_wrap=True)
    ranked = results.ranked
    uniform = [line for line in results.of(results.overall) if line not in ranked]
    for line in (*uniform, *ranked):
        table.add_row(
            line.selector,
            _number(line.figures["average_precision"].mean, ".3f"),
            *(_difference(line, name) for name in results.currencies),
        )
    return table


def _difference(line: BenchLine, currency: str) -> Text:
    """Return a difference to uniform with half the width of its interval, coloured where it is clear."""
    span, styles = line.equal[currency], {"better": "green", "worse": "red"}
    shown = f"{_number(span.mean, '+.3f')} ±{_number(span.high - span.mean, '.2f')}"
    return Text(shown, styles.get(line.verdicts[currency], ""))


class BenchProgress:
    """Show how far a bench is: a bar in a terminal, a line now and then elsewhere.

    Parameters
    ----------
    console
        Where the progress is shown.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True)
        self._runs = self._done = 0

    def __enter__(self) -> BenchProgress:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def stage(self, what: str, runs: int, done: int) -> None:
        """Begin a bar over all runs of a bench, of which some were done before."""
        self._runs, self._done = runs, done
        if self._console.is_terminal:
            self._task = self._bar.add_task(what, total=runs, completed=done)
        else:
            self._console.print(f"{what}: {runs} runs, {done} done before", highlight=False)

    def ended(self, outcome: EndedRun) -> None:
        """Take in a run that has ended; one that failed is named at once."""
        self._done += 1
        if outcome.error:
            self._console.print(f"{outcome.title}: {outcome.error}", style="red")
        if self._console.is_terminal:
            self._bar.advance(self._task)
        elif self._done % max(self._runs // 20, 1) == 0:
            self._console.print(f"{self._done} of {self._runs} runs", highlight=False)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(name) for name in _names(text)]
    except ValueError as error:
        raise ConfigError(f"{option} must be numbers with commas between, got {text!r}") from error


def _number(value: float, form: str) -> str:
    """Return a number in a format, a dash for NaN."""
    return format(value, form) if value == value else "-"
