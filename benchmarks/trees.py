"""Federated trees side by side with pooled ones: how good they are, how fast, and what travels.

python -m benchmarks.trees protocol --repeats 2
python -m benchmarks.trees protocol --repeats 2 --held-out tools
python -m benchmarks.trees tables
python -m benchmarks.trees oracle
python -m benchmarks.trees speed --rows 1000000
python -m benchmarks.trees messages
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import trees_oracle, trees_protocol, trees_speed, trees_tables
from benchmarks.trees_protocol import LEAK

_QUIET = Console(stderr=True)


def span(interval: dict[str, Any]) -> str:
    """Return a mean and half its interval's width.

    Examples
    --------
    >>> span({"mean": 0.5, "low": 0.4, "high": 0.6, "n": 5})
    '0.500 ± 0.100'
    """
    if interval["low"] is None:
        return f"{interval['mean']:.3f}"
    return f"{interval['mean']:.3f} ± {(interval['high'] - interval['low']) / 2:.3f}"


def protocol_table(result: dict[str, Any], title: str) -> Table:
    """Return the figures of each method; a mean F1 that no honest model reaches is marked."""
    named = f"{title}: {result['rows']} rows ({result['origin']}), {result['folds']} folds, mean and 95% interval"
    table = _table(named, "method", "F1 at 0.5", "F1 at the validation's threshold", "average precision", "s a fold")
    for name, one in result["methods"].items():
        leak = max(one["f1"]["mean"], one["f1_chosen"]["mean"]) > LEAK
        figures = [span(one[key]) for key in ("f1", "f1_chosen", "average_precision")]
        table.add_row(f"{name}{' LEAK' if leak else ''}", *figures, f"{one['seconds'] / result['folds']:.1f}")
    return table


def tables_table(result: dict[str, Any]) -> Table:
    """Return the figures of each table."""
    title = "federated boosting beside HistGradientBoosting, five folds, mean and 95% interval"
    table = _table(title, "table", "metric", "federated", "scikit-learn", "difference")
    for name, one in result.items():
        figures = [span(one[key]) for key in ("federated", "scikit_learn", "difference")]
        table.add_row(f"{name}, {one['rows']} rows", one["metric"], *figures)
    return table


def oracle_table(result: dict[str, Any]) -> Table:
    """Return the average precision on each random table, and the mean difference below."""
    title = "federated boosting beside HistGradientBoosting, average precision"
    table = _table(title, "table", "federated", "scikit-learn", "difference")
    for seed, own, theirs in zip(result["seeds"], result["federated"], result["scikit_learn"], strict=True):
        table.add_row(str(seed), f"{own:.3f}", f"{theirs:.3f}", f"{own - theirs:+.3f}")
    mean = f"{result['difference']:+.4f}, standard error {result['standard_error']:.4f}"
    table.add_row("mean", "", "", f"{mean}; worst {result['worst']:+.3f}")
    return table


def speed_table(result: dict[str, Any]) -> Table:
    """Return the seconds of each way, with their ratio to rows in one place."""
    title = f"{result['rows']:,} rows, {result['trees']} trees: seconds with bins, median (least .. most)"
    table = _table(title, "way", "seconds", "times one place")
    own = result["medians"]["one place"]
    for name, runs in result["seconds"].items():
        median = result["medians"][name]
        table.add_row(name, f"{median:.2f} ({min(runs):.2f} .. {max(runs):.2f})", f"{median / own:.2f}")
    return table


def messages_table(result: dict[str, Any]) -> Table:
    """Return what travels for a tree."""
    table = _table("a tree, for each client", "method", "trees a round", "questions", "kB to it", "kB from it")
    for name, one in result.items():
        numbers = (f"{one['down_a_tree'] / 1e3:.1f}", f"{one['up_a_tree'] / 1e3:.1f}")
        table.add_row(name, str(one["trees_a_round"]), f"{one['messages_a_tree']:.2f}", *numbers)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    return table


def _protocol(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    results: dict[str, Any] = {}
    tables: list[Table] = []
    wanted = arguments.only or trees_protocol.all_methods()
    titles = [title for title in wanted if title not in arguments.leave]
    for name, features in (("with physics features", True), ("without", False)):
        if name.split()[0] not in arguments.features:
            continue
        found = trees_protocol.protocol(arguments.repeats, features, titles, arguments.held_out, arguments.set, _tell)
        results[name] = found
        tables.append(protocol_table(found, f"{name}, {arguments.held_out} held out"))
    return results, tables


def _tables(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    tasks = trees_tables.tasks(seed=arguments.seed)
    wanted = arguments.only or [*tasks]
    found = {name: trees_tables.compare(task, arguments.seed) for name, task in tasks.items() if name in wanted}
    return found, [tables_table(found)]


def _oracle(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    seeds = range(arguments.seed, arguments.seed + arguments.tables)
    found = trees_oracle.compare_tables(seeds, arguments.rows, min_rows=arguments.min_cell_rows)
    return found, [oracle_table(found)]


def _speed(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    threads = arguments.threads or len(os.sched_getaffinity(0))
    found = trees_speed.measure(arguments.rows, arguments.trees, arguments.repetitions, threads)
    return found, [speed_table(found)]


def _messages(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    found = trees_speed.messages()
    return found, [messages_table(found)]


def _tell(line: str) -> None:
    _QUIET.print(line, highlight=False)


def main() -> None:
    """Run one comparison."""
    parser = argparse.ArgumentParser(description="Compare federated trees with pooled ones.")
    parser.add_argument("--json", action="store_true")
    parts = parser.add_subparsers(required=True)
    ways: dict[str, Callable[[argparse.Namespace], Any]] = {
        "protocol": _protocol,
        "tables": _tables,
        "oracle": _oracle,
        "speed": _speed,
        "messages": _messages,
    }
    made = {name: parts.add_parser(name) for name in ways}
    for name, way in ways.items():
        made[name].set_defaults(way=way)
    made["protocol"].add_argument("--repeats", type=int, default=2)
    made["protocol"].add_argument("--features", nargs="*", default=["with", "without"], choices=["with", "without"])
    made["protocol"].add_argument("--leave", nargs="*", default=[], help="methods to leave out, by title")
    made["protocol"].add_argument("--only", nargs="*", default=[], help="methods to keep, by title; all if left out")
    made["protocol"].add_argument(
        "--held-out", default="rows", choices=["rows", "tools"], help="what a fold consists of"
    )
    made["protocol"].add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of our own models")
    made["tables"].add_argument("--seed", type=int, default=0, help="of folds, and of tables that are made")
    made["tables"].add_argument("--only", nargs="*", default=[], help="tables, by name; all if left out")
    made["oracle"].add_argument("--tables", type=int, default=30)
    made["oracle"].add_argument("--seed", type=int, default=0, help="of the first table")
    made["oracle"].add_argument("--rows", type=int, default=2000, help="that train; twice as many are held out")
    made["oracle"].add_argument("--min-cell-rows", type=int, default=0)
    made["speed"].add_argument("--rows", type=int, default=100_000)
    made["speed"].add_argument("--trees", type=int, default=50)
    made["speed"].add_argument("--repetitions", type=int, default=3)
    made["speed"].add_argument("--threads", type=int, default=0, help="of LightGBM; 0 for all that are there")
    arguments = parser.parse_args()
    result, tables = arguments.way(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for table in tables:
        Console().print(table)


if __name__ == "__main__":
    main()
