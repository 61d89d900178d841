"""The page of a bench, and what it says first: who beats uniform selection at equal cost, and how far to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from werkbund.report.bench.sections import against_uniform, details, fairness, learning, to_target
from werkbund.report.bench.values import BenchFolder, BenchLine, read_bench
from werkbund.report.page import Page, write_page
from werkbund.report.text import duration, plural, signed

_MOST_NAMES = 5


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
    sections = (against_uniform, to_target, fairness, learning, details)
    return Page(
        name=bench.path.resolve().name,
        kind="selection bench",
        sentence=bench_sentence(bench),
        outcome=bench_outcome(bench),
        sections=tuple(section(bench) for section in sections),
        remarks=bench_remarks(bench),
        facts=(
            plural(len(about["selectors"]), "method"),
            plural(len(bench.settings), "partition"),
            plural(len(about["seeds"]), "seed"),
            plural(int(about["rounds"]), "round"),
            duration(float(about["seconds"])),
        ),
    )


def bench_sentence(bench: BenchFolder) -> str:
    """Return who beats uniform selection at equal cost over all settings."""
    ranked = bench.ranked
    better, worse, level = (
        [line for line in ranked if line.verdict == verdict] for verdict in ("better", "worse", "no clear difference")
    )
    if not ranked:
        return "Only uniform selection was run, so there is nothing to compare it with."
    number = f"{len(better)}" if better else "None"
    first = f"{number} of {plural(len(ranked), 'method')} {_does(better)} uniform selection at equal cost"
    others = f"{len(level)} {_verb(level, 'make')} no clear difference, {len(worse)} {_verb(worse, 'do')} worse"
    unknown = len(ranked) - len(better) - len(level) - len(worse)
    return f"{first}, {others}{f', {unknown} cannot be judged' if unknown else ''}."


def bench_outcome(bench: BenchFolder) -> str:
    """Return the colour of the sentence, by the names that the verdicts on runs have."""
    verdicts = {line.verdict for line in bench.ranked}
    return "pays" if "better" in verdicts else "level" if "no clear difference" in verdicts else "loses"


def bench_remarks(bench: BenchFolder) -> tuple[str, ...]:
    """Return what a careful reader should know beside the sentence."""
    ranked = bench.ranked
    better = [line for line in ranked if line.verdict == "better"]
    worse = sorted((line for line in ranked if line.verdict == "worse"), key=lambda line: line.equal_cost.mean)
    comparisons = len(ranked) * (len(bench.settings) + (len(bench.settings) > 1))
    remarks = [
        f"Better: {_named(better)}." if better else "",
        f"Worse, and uniform the better choice: {_named(worse)}." if worse else "",
        f"With {comparisons} comparisons at 95% about {max(round(0.05 * comparisons), 1)} look clear by chance alone.",
        f"Intervals are over {plural(len(bench.about['seeds']), 'seed')}, each with its own first weights, splits, "
        "draws and simulated world.",
        *(f"{line.selector} did not finish every run: {line.errors[0]}" for line in ranked if line.errors),
    ]
    return tuple(remark for remark in remarks if remark)


def _verb(lines: Sequence[BenchLine], plain: str) -> str:
    return plain if len(lines) != 1 else {"make": "makes", "do": "does"}[plain]


def _does(lines: Sequence[BenchLine]) -> str:
    return "beat" if len(lines) > 1 else "beats"


def _named(lines: Sequence[BenchLine]) -> str:
    named = [f"{line.selector} ({signed(line.equal_cost.mean, 3)})" for line in lines[:_MOST_NAMES]]
    left_out = len(lines) - len(named)
    return ", ".join(named) + (f" and {left_out} more" if left_out else "")
