"""The page of a bench: who beats uniform selection at equal cost, how far to believe it, and its sections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from werkbund.evaluation import Interval
from werkbund.report.bench.values import UNIFORM, BenchFolder, BenchLine, best_first, read_bench
from werkbund.report.page import Page, PageSection, TextTable, write_page
from werkbund.report.text import MISSING, duration, number_text, plural, signed
from werkbund.report.theme import LIGHT, Panel, blank

EFFORTS = {"rounds": "Rounds", "seconds": "Simulated time", "joules": "Energy", "bytes": "Bytes"}

_COLOURS = {"better": "federated", "worse": "failure", "no clear difference": "muted", "unknown": "muted"}

_BEST = 3
"""Methods that have a colour of their own where the scores of all are drawn."""

_MOST_NAMES = 5
"""Methods that a remark names at most."""


def write_bench_report(folder: Path) -> Path:
    """Write `report.html` into a bench's folder and return its path.

    Raises
    ------
    DataError
        If the folder holds no finished bench.
    """
    return write_page(bench_page(read_bench(folder)), folder)


def bench_page(bench: BenchFolder) -> Page:
    """Return the page of a bench: its verdict, facts and sections."""
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


def against_uniform(bench: BenchFolder) -> PageSection:
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
            number_text(_figure_of(line, "average_precision").mean),
            signed(line.equal_cost.mean, 3),
            _between(line.equal_cost, 3),
            signed(line.equal_cohort.mean, 3),
            number_text(_figure_of(line, "contacts").mean, 1),
        )
        for line in _all_lines(bench)
    )
    panels = (equal_cost(bench), *((where,) if where else ()))
    return PageSection(
        "equal-cost", "Equal cost", "Who beats uniform?", lead, panels, (TextTable(head, rows, folded="All figures"),)
    )


def equal_cost(bench: BenchFolder) -> Panel:
    """Return each method's difference to uniform at equal cost, with its interval."""
    lines = [line for line in bench.ranked if math.isfinite(line.equal_cost.mean)]
    figure = blank(70 + 22 * len(lines), showlegend=False)
    for line in lines:
        colour = LIGHT[_COLOURS[line.verdict]]
        figure.add_scatter(
            x=[line.equal_cost.mean],
            y=[line.selector],
            mode="markers",
            marker={"color": colour, "size": 8},
            error_x=_whisker(line.equal_cost, colour),
            hovertemplate=f"%{{y}}: %{{x:+.3f}}<extra>{line.verdict}</extra>",
        )
    figure.add_vline(x=0, line={"width": 1, "color": LIGHT["ink"]})
    figure.update_xaxes(title_text="Average precision minus that of uniform at equal cost", tickformat="+.2f")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont_color=LIGHT["ink"], dtick=1)
    note = (
        "Mean over partitions, 95% interval over seeds. A method that asks or trains more clients than its cohort "
        "faces a uniform that trains as many."
    )
    return Panel("bench-equal-cost", "Against uniform at equal cost", figure, note, wide=True)


def by_setting(bench: BenchFolder) -> Panel | None:
    """Return the differences of each method in each setting; None for one setting."""
    if len(bench.settings) < 2:
        return None
    names = [line.selector for line in bench.ranked]
    lines = [[bench.line(name, setting) for setting in bench.settings] for name in names]  # (methods, settings)
    values = [[line.equal_cost.mean if line else math.nan for line in row] for row in lines]
    clear = {"better": "▲", "worse": "▼"}
    texts = [
        [f"{signed(line.equal_cost.mean, 2)} {clear.get(line.verdict, '')}".strip() if line else "" for line in row]
        for row in lines
    ]
    known = [abs(value) for row in values for value in row if math.isfinite(value)]
    most = max(known, default=0.1) or 0.1
    figure = blank(90 + 22 * len(names), showlegend=False)
    figure.add_heatmap(
        z=values,
        x=list(bench.settings),
        y=names,
        text=texts,
        texttemplate="%{text}",
        zmin=-most,
        zmax=most,
        colorscale=[[0, LIGHT["local"]], [0.5, LIGHT["paper"]], [1, LIGHT["pooled"]]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y}, %{x}: %{z:+.3f}<extra></extra>",
    )
    figure.update_xaxes(side="top", showgrid=False, type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont_color=LIGHT["ink"], dtick=1)
    note = "The same difference, partition by partition. ▲ and ▼ mark those whose interval leaves out zero."
    return Panel("bench-settings", "Where it helps, where it hurts", figure, note, wide=True)


def _whisker(span: Interval, colour: str) -> dict[str, object] | None:
    """Return the error bar of an interval; None if its ends are not known."""
    if not (math.isfinite(span.low) and math.isfinite(span.high)):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [span.high - span.mean],
        "arrayminus": [span.mean - span.low],
        "color": colour,
        "thickness": 1.4,
        "width": 4,
    }


def to_target(bench: BenchFolder) -> PageSection:
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
    return PageSection("target", "To the target", "What it takes to be good enough", lead, (), (TextTable(head, rows),))


def fairness(bench: BenchFolder) -> PageSection:
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
        (line.selector, *(number_text(_figure_of(line, name).mean, places) for name, places in digits.items()))
        for line in _all_lines(bench)
    )
    return PageSection("fairness", "Fairness", "Whom it leaves out", lead, (), (TextTable(head, rows),))


def learning(bench: BenchFolder) -> PageSection:
    """Return how the scores went."""
    lead = "Mean over seeds. Uniform in black, the three best at equal cost in colour, all others in grey."
    return PageSection("courses", "Learning", "How the scores went", lead, courses(bench))


def courses(bench: BenchFolder) -> tuple[Panel, ...]:
    """Return how the score went in each setting: uniform, the best three, and all others in grey."""
    best = [line.selector for line in bench.ranked[:_BEST]]
    colours = dict(zip(best, ("mode_1", "mode_2", "mode_4"), strict=False))
    return tuple(_course_panel(bench, setting, colours) for setting in bench.settings if bench.courses.get(setting))


def _course_panel(bench: BenchFolder, setting: str, colours: dict[str, str]) -> Panel:
    figure = blank(260, hovermode="closest")
    named = [*colours, UNIFORM]
    scores = bench.courses[setting]
    for name in [*(unnamed for unnamed in scores if unnamed not in named), *named]:
        values = scores.get(name, ())
        if not values:
            continue
        colour = LIGHT["ink"] if name == UNIFORM else LIGHT[colours.get(name, "rule")]
        figure.add_scatter(
            y=values,
            mode="lines",
            name=name,
            showlegend=name in named,
            line={"color": colour, "width": 2.0 if name in named else 1.0},
            hovertemplate=f"{name}, round %{{x}}: %{{y:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title_text="Round", showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    return Panel(f"bench-course-{setting}", setting, figure, str(bench.about["titles"][setting]).capitalize() + ".")


def details(bench: BenchFolder) -> PageSection:
    """Return each setting's figures, and how to repeat the bench."""
    tables = tuple(_setting_table(bench, setting) for setting in bench.settings) if len(bench.settings) > 1 else ()
    world = {key: value for key, value in bench.about["world"].items() if value is not None}
    settings = TextTable(
        ("How it was run", ""),
        (
            ("Command", " ".join(bench.about.get("command") or ()) or MISSING),
            ("Seeds", ", ".join(map(str, bench.about["seeds"]))),
            ("World", ", ".join(f"{key} {value}" for key, value in world.items())),
            ("Runs", plural(sum(line.runs for line in bench.of(bench.overall)), "run")),
        ),
        numeric=False,
    )
    return PageSection("details", "Details", "Partition by partition", "", (), (*tables, settings))


def _setting_table(bench: BenchFolder, setting: str) -> TextTable:
    """Return every method's figures in one setting, folded away."""
    head = (setting, "Average precision", "at equal cost", "95% interval", "Reached", *EFFORTS.values())
    lines = best_first(bench.of(setting))
    rows = tuple(
        (
            line.selector,
            number_text(_figure_of(line, "average_precision").mean),
            signed(line.equal_cost.mean, 3),
            _between(line.equal_cost, 3),
            f"{line.reached} of {line.runs}",
            *(_multiple(line.savings[name]) for name in EFFORTS),
        )
        for line in lines
    )
    return TextTable(head, rows, folded=f"{setting}: {bench.about['titles'][setting]}")


def _all_lines(bench: BenchFolder) -> tuple[BenchLine, ...]:
    """Return the summing lines, uniform first."""
    uniform = [line for line in bench.of(bench.overall) if line not in bench.ranked]
    return (*uniform, *bench.ranked)


def _figure_of(line: BenchLine, name: str) -> Interval:
    """Return a figure of a method with its interval; all unknown if it was not written."""
    return line.figures.get(name, Interval(math.nan, math.nan, math.nan, 0))


def _between(span: Interval, digits: int) -> str:
    return f"{signed(span.low, digits)} to {signed(span.high, digits)}" if math.isfinite(span.low) else MISSING


def _multiple(span: Interval) -> str:
    if not math.isfinite(span.mean):
        return MISSING
    known = math.isfinite(span.low) and math.isfinite(span.high)
    return f"{span.mean:.2f}" + (f" ({span.low:.2f} to {span.high:.2f})" if known else "")
