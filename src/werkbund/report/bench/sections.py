"""The sections of a bench's page."""

from __future__ import annotations

import math

from werkbund.evaluation import Interval
from werkbund.report.bench.plots import by_setting, courses, equal_cost
from werkbund.report.bench.values import BenchFolder, BenchLine, best_first
from werkbund.report.content import Section, Table
from werkbund.report.text import MISSING, figure, plural, signed

EFFORTS = {"rounds": "Rounds", "seconds": "Simulated time", "joules": "Energy", "bytes": "Bytes"}


def against_uniform(bench: BenchFolder) -> Section:
    """Return the comparison at equal cost."""
    where = by_setting(bench)
    lead = (
        f"{bench.about['clients']} clients, {bench.about['cohort']} a round, {bench.about['rounds']} rounds. Average "
        f"precision on the test rows of all clients, mean of the last {bench.about['window']} rounds."
    )
    head = (
        "Method",
        "Average precision",
        "at equal cost",
        "95% interval",
        "with the same cohort",
        "Clients asked or trained",
    )
    rows = tuple(
        (
            line.selector,
            figure(_of(line, "average_precision").mean),
            signed(line.equal_cost.mean, 3),
            _between(line.equal_cost, 3),
            signed(line.equal_cohort.mean, 3),
            figure(_of(line, "contacts").mean, 1),
        )
        for line in _all_lines(bench)
    )
    panels = (equal_cost(bench), *((where,) if where else ()))
    return Section(
        "equal-cost", "Equal cost", "Who beats uniform?", lead, panels, (Table(head, rows, folded="All figures"),)
    )


def to_target(bench: BenchFolder) -> Section:
    """Return what each method takes to the target."""
    wanted = bench.about.get("target")
    share = bench.about["share"]
    target = f"an average precision of {wanted}" if wanted else f"{share:.0%} of what uniform ends with"
    lead = (
        f"The target is {target}, by the mean of {bench.about['window']} rounds in a row. A multiple below 1 is "
        "cheaper than uniform with the same cohort; questions, failed and late work count, mere evaluation does not."
    )
    head = ("Method", "Reached", *(f"{title}, as a multiple" for title in EFFORTS.values()))
    rows = tuple(
        (
            line.selector,
            f"{line.reached} of {line.runs}",
            *(_multiple(line.savings[name]) for name in EFFORTS),
        )
        for line in _all_lines(bench)
    )
    return Section("target", "To the target", "What it takes to be good enough", lead, (), (Table(head, rows),))


def fairness(bench: BenchFolder) -> Section:
    """Return whom each method leaves out."""
    lead = (
        "Jain's index is 1 where all took part alike. The worst tenth are the clients that the final model serves "
        "worst, of those with a failure among their test rows."
    )
    head = (
        "Method",
        "Jain's index",
        "Never chosen",
        "Worst tenth, average precision",
        "Worst tenth, log loss",
        "Failures",
    )
    digits = {"jain": 2, "never": 1, "worst_average_precision": 3, "worst_log_loss": 3, "failures": 0}
    rows = tuple(
        (line.selector, *(figure(_of(line, name).mean, places) for name, places in digits.items()))
        for line in _all_lines(bench)
    )
    return Section("fairness", "Fairness", "Whom it leaves out", lead, (), (Table(head, rows),))


def learning(bench: BenchFolder) -> Section:
    """Return how the scores went."""
    lead = "Mean over seeds. Uniform in black, the three best at equal cost in colour, all others in grey."
    return Section("courses", "Learning", "How the scores went", lead, courses(bench))


def details(bench: BenchFolder) -> Section:
    """Return each setting's figures, and how to repeat the bench."""
    tables = tuple(_setting_table(bench, setting) for setting in bench.settings) if len(bench.settings) > 1 else ()
    world = {key: value for key, value in bench.about["world"].items() if value is not None}
    told = Table(
        ("How it was run", ""),
        (
            ("Command", " ".join(bench.about.get("command") or ()) or MISSING),
            ("Seeds", ", ".join(map(str, bench.about["seeds"]))),
            ("World", ", ".join(f"{key} {value}" for key, value in world.items())),
            ("Runs", plural(sum(line.runs for line in bench.of(bench.overall)), "run")),
        ),
        numeric=False,
    )
    return Section("details", "Details", "Partition by partition", "", (), (*tables, told))


def _setting_table(bench: BenchFolder, setting: str) -> Table:
    head = (setting, "Average precision", "at equal cost", "95% interval", "Reached", *EFFORTS.values())
    lines = best_first(bench.of(setting))
    rows = tuple(
        (
            line.selector,
            figure(_of(line, "average_precision").mean),
            signed(line.equal_cost.mean, 3),
            _between(line.equal_cost, 3),
            f"{line.reached} of {line.runs}",
            *(_multiple(line.savings[name]) for name in EFFORTS),
        )
        for line in lines
    )
    return Table(head, rows, folded=f"{setting}: {bench.about['titles'][setting]}")


def _all_lines(bench: BenchFolder) -> tuple[BenchLine, ...]:
    """Return the summing lines, uniform first."""
    uniform = [line for line in bench.of(bench.overall) if line not in bench.ranked]
    return (*uniform, *bench.ranked)


def _of(line: BenchLine, name: str) -> Interval:
    return line.figures.get(name, Interval(math.nan, math.nan, math.nan, 0))


def _between(span: Interval, digits: int) -> str:
    return f"{signed(span.low, digits)} to {signed(span.high, digits)}" if math.isfinite(span.low) else MISSING


def _multiple(span: Interval) -> str:
    if not math.isfinite(span.mean):
        return MISSING
    known = math.isfinite(span.low) and math.isfinite(span.high)
    return f"{span.mean:.2f}" + (f" ({span.low:.2f} to {span.high:.2f})" if known else "")
