"""What a bench says in one sentence, and what one should know before believing it."""

from __future__ import annotations

from collections.abc import Sequence

from werkbund.report.bench.values import BenchFolder, BenchLine
from werkbund.report.text import plural, signed

_MOST_NAMES = 5


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
    rest = f"{len(level)} {_verb(level, 'make')} no clear difference, {len(worse)} {_verb(worse, 'do')} worse"
    unknown = len(ranked) - len(better) - len(level) - len(worse)
    return f"{first}, {rest}{f', {unknown} cannot be judged' if unknown else ''}."


def bench_outcome(bench: BenchFolder) -> str:
    """Return the colour of the sentence."""
    found = {line.verdict for line in bench.ranked}
    return "pays" if "better" in found else "level" if "no clear difference" in found else "loses"


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
    told = [f"{line.selector} ({signed(line.equal_cost.mean, 3)})" for line in lines[:_MOST_NAMES]]
    rest = len(lines) - len(told)
    return ", ".join(told) + (f" and {rest} more" if rest else "")
