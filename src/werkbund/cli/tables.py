"""What people see of runs, tables and plants: one look for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from werkbund.cli.edge import output, print_line
from werkbund.core.text import fixed

if TYPE_CHECKING:
    from werkbund.data.dialect import Reading

_WHO = {
    "federated": "Federated",
    "local_mean": "Alone, same model",
    "local_trees_mean": "Alone, own trees",
    "pooled": "Pooled, same model",
    "pooled_gbdt": "Pooled, boosted trees",
    "pooled_forest": "Pooled, forest",
    "nothing": "Inspect nothing",
    "everything": "Inspect every row",
    "interval": "Inspect by interval",
}
_COLUMNS = {
    "average_precision": "avg prec",
    "roc_auc": "ROC AUC",
    "cost": "cost/1000",
}
_OF_NUMBERS = {"rmse": "RMSE", "average_precision": "avg prec", "cost": "cost/1000"}
"""The columns where a number is foretold."""
RANKING = ("average_precision", "roc_auc")
"""The metrics that follow from the order of scores, which bins may leave in doubt."""
_OWN = {"avg prec": "average_precision", "cost/1000": "cost"}
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}
_VERDICTS = {True: ("taken", "green"), False: ("refused", "yellow"), None: ("no answer", "red")}


def comparison_table(metrics: Mapping[str, Mapping[str, Any]], own_rows: Mapping[str, Any] | None = None) -> Group:
    """Return the contenders of one run: on the plants' own held-out rows, and on everybody's; with what is in doubt.

    Parameters
    ----------
    metrics
        By contender, on everybody's rows.
    own_rows
        The contest on the plants' own rows; None if there was none.
    """
    own = own_rows["figures"] if own_rows else {}
    by_own = {**({"RMSE": "rmse"} if "rmse" in own.get("federated", {}) else {}), **_OWN}
    whose = f"On held-out rows, {own_rows['failures']} failures: each plant's own, and everybody's" if own_rows else ""
    table = plain_table(whose or "On everybody's held-out rows")
    table.add_column("model", no_wrap=True)
    for title in by_own if own else ():
        table.add_column(f"own rows\n{title}", justify="right", no_wrap=True)
    columns = _OF_NUMBERS if any(scores.get("rmse") for scores in metrics.values()) else _COLUMNS
    for title in columns.values():
        table.add_column(f"all rows\n{title}", justify="right", no_wrap=True)
    for who in dict.fromkeys([*metrics, *own]):
        cells = [_own_cell(own.get(who, {}), name) for name in by_own.values()] if own else []
        scores = metrics.get(who, {})
        cells += [_number(scores.get(name), name) for name in columns]
        table.add_row(_WHO.get(who, who), *cells, style="bold" if who == "federated" else "")
    return Group(table, *(Text(line, "yellow") for line in _in_doubt(metrics)))


def _own_cell(figures: Mapping[str, Any], name: str) -> str:
    return _number(figures[name]["by_rows"]["mean"], name) if name in figures else "-"


def _in_doubt(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each figure that the bins of scores leave in doubt."""
    from werkbund.report.values import Scores  # slow to import

    lines = []
    for who, written in metrics.items():
        scores = Scores.parse(written)
        doubts = {_COLUMNS[name]: scores.text(name) for name in RANKING if scores.in_doubt(name)}
        lines += [f"{_WHO.get(who, who)}: {title} {figure}" for title, figure in doubts.items()]
    return lines


def seeds_table(comparison: Mapping[str, Any]) -> Table:
    """Return the contenders over several seeds: mean and half the width of the 95 % interval."""
    table = plain_table(f"Mean and 95 % interval over seeds {', '.join(map(str, comparison['seeds']))}")
    table.add_column("model", no_wrap=True)
    rows = {(row["who"], row["metric"]): row for row in comparison["rows"]}
    columns = _OF_NUMBERS if ("federated", "rmse") in rows else _COLUMNS
    for title in columns.values():
        table.add_column(title, justify="right", no_wrap=True)
    for who, name in _WHO.items():
        if (who, "average_precision") in rows:
            found = [(rows.get((who, metric)), metric) for metric in columns]
            cells = [_interval(row, metric) if row else "-" for row, metric in found]
            table.add_row(name, *cells, style="bold" if who == "federated" else "")
    return table


def differences_table(comparison: Mapping[str, Any]) -> Table:
    """Return by how much the federation is ahead, seed by seed, with the 95 % interval of the mean."""
    rows = [row for row in comparison["rows"] if str(row["who"]).startswith("federated minus ")]
    of_numbers = any(row["metric"] == "rmse" for row in rows)
    measure, digits = ("RMSE, where less is better", 2) if of_numbers else ("average precision", 3)
    table = plain_table(f"Federated minus the others, in {measure}")
    for title in ("other", "mean and interval", "seed by seed"):
        table.add_column(title, no_wrap=title != "seed by seed")
    for row in rows:
        contender = str(row["who"]).removeprefix("federated minus ")
        values = ", ".join("-" if value is None else fixed(value, digits, "+") for value in row["values"])
        table.add_row(_WHO.get(contender, contender), _interval(row, str(row["metric"])), values)
    return table


def findings_table(findings: Sequence[Mapping[str, Any]]) -> Table:
    """Return the findings of a table's checks as a table for people."""
    table = plain_table("Findings")
    for name in ("level", "column", "finding"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        level = str(finding["level"])
        told = "\n".join(filter(None, (str(finding["message"]), str(finding.get("lines", "")))))
        table.add_row(Text(level, style=_STYLES[level]), Text(str(finding["column"]) or "-"), Text(told))
    return table


def schema_table(columns: Sequence[Mapping[str, str]]) -> Table:
    """Return each column with its role, type, unit and range, as a table for people."""
    table = plain_table("Columns")
    for name in ("column", "used as", "unit", "plausible range"):
        table.add_column(name)
    for column in columns:
        table.add_row(*(Text(str(column.get(key, ""))) for key in ("name", "role", "unit", "range")))
    return table


def show_reading(reading: Reading, console: Console) -> None:
    """Print how a file was read, and what was done with values that could not be taken as they stand."""
    lines = [f"Read as: {reading.sentence()}."] if reading.sentence() else []
    lines += [f"{remark.column}: {remark.message}" if remark.column else remark.message for remark in reading.remarks]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


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
    from werkbund.federation.folder import Folder

    console, run = output(), Folder.existing(folder)
    about, result = run.read_json("run.json"), run.read_json("result.json")
    data = about["data"]
    size = f"{data['rows']} training rows, {data['positives']} failures, {len(about['clients'])} clients"
    console.print(f"\n{size}, {result['rounds']} rounds in {result['seconds']:.0f} s.\n", highlight=False)
    console.print(comparison_table(result["metrics"], result.get("own_rows")))
    console.print()
    console.print(delivery_table(result["delivered"]))
    show_verdict(folder)
    files = f"\nReport: {folder / 'report.html'}\nModel:  {folder / 'model.onnx'}"
    console.print(files, soft_wrap=True, highlight=False)


def show_verdict(folder: Path) -> None:
    """Print whether federating paid in a run, what to know beside it, and how the model does in a later period."""
    from werkbund.report import cluster_sentence, contribution_sentence, judge, later_sentence, read_run

    run = read_run(folder)
    verdict, later = judge(run), later_sentence(run)
    print_line(f"\n{verdict.sentence}")
    for remark in verdict.remarks:
        print_line(f"- {remark}")
    if later:
        print_line(f"\n{later}")
    if clusters := cluster_sentence(run):
        print_line(f"\n{clusters}")
    if run.result and run.result.contributions:
        print_line(f"\n{contribution_sentence(run)}\n")
        output().print(contributions_table(run.result.contributions))


def contributions_table(told: Mapping[str, Any]) -> Table:
    """Return what each plant contributed to the validation score."""
    table = plain_table("Contributions to the validation average precision")
    for name in ("plant", "share (Shapley)", "95 % interval", "cost of its absence"):
        table.add_column(name, justify="left" if name == "plant" else "right")
    for one in told["clients"]:
        interval = f"{one['low']:+.3f} to {one['high']:+.3f}"
        table.add_row(Text(one["client"]), f"{one['shapley']:+.3f}", interval, f"{one['leave_one_out']:+.3f}")
    return table


def delivery_table(delivered: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return what each plant made of the model that it was offered."""
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


def _number(value: float | None, name: str) -> str:
    """Return a metric's value, a dash where it is undefined."""
    if value is None:
        return "-"
    return fixed(value, {"cost": 1, "rmse": 1 if value >= 100 else 2}.get(name, 3))


def _interval(row: Mapping[str, Any], name: str) -> str:
    """Return a mean, with half the width of its interval where that is known."""
    if row["low"] is None:
        return _number(row["mean"], name)
    return f"{_number(row['mean'], name)} ±{_number((row['high'] - row['low']) / 2, name)}"
