"""The page of a bench."""

from __future__ import annotations

from pathlib import Path

from werkbund.report.bench.sections import against_uniform, details, fairness, learning, to_target
from werkbund.report.bench.values import BenchFolder, read_bench
from werkbund.report.bench.verdict import bench_outcome, bench_remarks, bench_sentence
from werkbund.report.page import Page, write_page
from werkbund.report.text import duration, plural


def write_bench_report(folder: Path) -> Path:
    """Write `report.html` into a bench's folder and return its path.

    Raises
    ------
    DataError
        If the folder holds no finished bench.
    """
    return write_page(bench_page(read_bench(folder)), folder)


def bench_page(bench: BenchFolder) -> Page:
    """Return what the page shows."""
    about = bench.about
    made = (against_uniform, to_target, fairness, learning, details)
    return Page(
        name=bench.path.resolve().name,
        kind="selection bench",
        sentence=bench_sentence(bench),
        outcome=bench_outcome(bench),
        sections=tuple(make(bench) for make in made),
        remarks=bench_remarks(bench),
        facts=(
            plural(len(about["selectors"]), "method"),
            plural(len(bench.settings), "partition"),
            plural(len(about["seeds"]), "seed"),
            plural(int(about["rounds"]), "round"),
            duration(float(about["seconds"])),
        ),
    )
