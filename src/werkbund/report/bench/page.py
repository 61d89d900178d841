"""The page of a bench: who beats uniform selection at equal cost in which currency, and how far to believe it."""

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

_NAMES = {"bytes": "bytes", "joules": "energy", "seconds": "time", "examples": "examples"}
"""Currencies, for people."""

_CLEAR = ("better", "worse")

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
    sections = (against_uniform, costs, to_target, fairness, learning, details)
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
    """Return how many methods beat uniform selection, currency by currency, over all settings."""
    ranked = bench.ranked
    if not ranked:
        return "Only uniform selection was run, so there is nothing to compare it with."
    better, worse = ({name: _who(bench, name, verdict) for name in bench.currencies} for verdict in _CLEAR)
    number = plural(len(ranked), "method")
    if not any(better.values()):
        most = max(map(len, worse.values()))
        return f"None of {number} beats uniform selection at equal cost in any currency, and up to {most} do worse."
    (name, first), *others = better.items()
    beats = f"{len(first) or 'None'} of {number} {'beat' if len(first) > 1 else 'beats'} uniform selection"
    rest = [f"{len(lines) or 'none'} at equal {_NAMES[other]}" for other, lines in others]
    return f"{beats} at equal {_NAMES[name]}, {', '.join(rest[:-1])} and {rest[-1]}."


def bench_outcome(bench: BenchFolder) -> str:
    """Return the colour of the sentence, by the names that the verdicts on runs have."""
    verdicts = {verdict for line in bench.ranked for verdict in line.verdicts.values()}
    return "pays" if "better" in verdicts else "level" if "no clear difference" in verdicts else "loses"


def bench_remarks(bench: BenchFolder) -> tuple[str, ...]:
    """Return what a careful reader should know beside the sentence."""
    ranked, seeds = bench.ranked, bench.about["seeds"]
    comparisons = len(ranked) * len(bench.currencies)
    tuned = bench.about.get("tuned") or ()
    remarks = [
        *(_clear(bench, name) for name in bench.currencies),
        f"With {comparisons} comparisons at 95% about {max(round(0.05 * comparisons), 1)} look clear by chance alone.",
        f"Intervals are over {plural(len(seeds), 'seed')}, each with its own first weights, splits, draws and "
        "simulated world. They are resamplings of one table: what another table would say they do not cover.",
        f"The server's momentum was chosen for each method on validation rows of {plural(len(tuned), 'other seed')} "
        f"({_listed(tuned)})."
        if len(bench.about.get("momenta") or ()) > 1
        else "",
        *(
            f"{line.selector} did not finish every run, and its figures are of the others: {line.errors[0]}"
            for line in ranked
            if line.errors
        ),
    ]
    return tuple(remark for remark in remarks if remark)


def _who(bench: BenchFolder, currency: str, verdict: str) -> tuple[BenchLine, ...]:
    """Return the summing lines of which this was said in a currency, the clearest first."""
    found = [line for line in bench.ranked if line.verdicts[currency] == verdict]
    return tuple(sorted(found, key=lambda line: -abs(line.equal[currency].mean)))


def _clear(bench: BenchFolder, currency: str) -> str:
    """Return who is clearly better and worse in a currency."""
    better, worse = (_who(bench, currency, verdict) for verdict in _CLEAR)
    said = (f"better {_named(better, currency)}" if better else "nobody better", _worse(worse, currency))
    return f"At equal {_NAMES[currency]}: {'; '.join(part for part in said if part)}."


def _worse(lines: Sequence[BenchLine], currency: str) -> str:
    return f"worse {_named(lines, currency)}" if lines else ""


def _named(lines: Sequence[BenchLine], currency: str) -> str:
    named = [f"{line.selector} ({signed(line.equal[currency].mean, 3)})" for line in lines[:_MOST_NAMES]]
    left_out = len(lines) - len(named)
    return ", ".join(named) + (f" and {left_out} more" if left_out else "")


def _range(least: int, most: int) -> str:
    return f"{most}" if least == most else f"{least} to {most}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def against_uniform(bench: BenchFolder) -> PageSection:
    """Return the comparison at equal cost, in each currency."""
    lead = (
        f"{bench.about['clients']} clients, {bench.about['cohort']} a round, {bench.about['rounds']} rounds. Average "
        f"precision on the test rows of all clients, mean of the last {bench.about['window']} rounds, minus what "
        "uniform selection reaches for the same cost, be it more or less than its cohort of the same size takes."
    )
    head = ("Method", "Momentum", "Average precision", *(f"at equal {_NAMES[name]}" for name in bench.currencies))
    rows = tuple(
        (
            line.selector,
            number_text(line.momentum, 1),
            number_text(_figure_of(line, "average_precision").mean),
            *(_difference(line, name) for name in bench.currencies),
        )
        for line in _all_lines(bench)
    )
    panels = (overview(bench), *(equal_cost(bench, name) for name in bench.currencies))
    table = TextTable(head, rows, folded="All figures with their 95% intervals")
    return PageSection("equal-cost", "Equal cost", "Who beats uniform, and in which currency?", lead, panels, (table,))


def overview(bench: BenchFolder) -> Panel:
    """Return the differences of each method in each currency at one look."""
    lines = bench.ranked
    values = [[line.equal[name].mean for name in bench.currencies] for line in lines]
    texts = [[_mark(line, name) for name in bench.currencies] for line in lines]
    known = [abs(value) for row in values for value in row if math.isfinite(value)]
    most = max(known, default=0.1) or 0.1
    figure = blank(90 + 22 * len(lines), showlegend=False)
    figure.add_heatmap(
        z=values,
        x=[_NAMES[name] for name in bench.currencies],
        y=[line.selector for line in lines],
        text=texts,
        texttemplate="%{text}",
        zmin=-most,
        zmax=most,
        colorscale=[[0, LIGHT["local"]], [0.5, LIGHT["paper"]], [1, LIGHT["pooled"]]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y}, at equal %{x}: %{z:+.3f}<extra></extra>",
    )
    figure.update_xaxes(side="top", showgrid=False, type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont_color=LIGHT["ink"], dtick=1)
    note = "Mean over partitions and seeds. ▲ and ▼ mark differences whose 95% interval leaves out zero."
    return Panel("bench-currencies", "Against uniform at equal cost", figure, note, wide=True)


def equal_cost(bench: BenchFolder, currency: str) -> Panel:
    """Return each method's difference to uniform at equal cost in one currency, with its interval."""
    lines = [line for line in bench.ranked if math.isfinite(line.equal[currency].mean)]
    figure = blank(70 + 18 * len(lines), showlegend=False)
    for line in lines:
        span, verdict = line.equal[currency], line.verdicts[currency]
        colour = LIGHT[_COLOURS[verdict]]
        figure.add_scatter(
            x=[span.mean],
            y=[line.selector],
            mode="markers",
            marker={"color": colour, "size": 7},
            error_x=_whisker(span, colour),
            hovertemplate=f"%{{y}}: %{{x:+.3f}}<extra>{verdict}</extra>",
        )
    figure.add_vline(x=0, line={"width": 1, "color": LIGHT["ink"]})
    figure.update_xaxes(title_text="Average precision minus uniform's", tickformat="+.2f")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont_color=LIGHT["ink"], dtick=1)
    return Panel(f"bench-equal-{currency}", f"At equal {_NAMES[currency]}", figure, "95% interval over seeds.")


def _mark(line: BenchLine, currency: str) -> str:
    """Return a difference in short, with a mark where it is clear."""
    marks = {"better": "▲", "worse": "▼"}
    return f"{signed(line.equal[currency].mean, 3)} {marks.get(line.verdicts[currency], '')}".strip()


def _difference(line: BenchLine, currency: str) -> str:
    """Return a difference with its interval."""
    span = line.equal[currency]
    return f"{_mark(line, currency)} ({_between(span, 3)})" if math.isfinite(span.low) else _mark(line, currency)


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


def costs(bench: BenchFolder) -> PageSection:
    """Return what each method takes, whether it pays or not."""
    lead = (
        "What a whole run takes, as a multiple of uniform's with the same cohort: questions, failed and late work and "
        "what the method computes at the server count, mere evaluation does not."
    )
    names = [_NAMES[name].capitalize() for name in bench.currencies]
    head = ("Method", *names, "Clients asked or trained", "Server, s")
    rows = tuple(
        (
            line.selector,
            *(number_text(line.cost[name].mean, 2) for name in bench.currencies),
            number_text(_figure_of(line, "contacts").mean, 1),
            number_text(_figure_of(line, "server_seconds").mean, 2),
        )
        for line in _all_lines(bench)
    )
    return PageSection("costs", "Costs", "What each takes", lead, (), (TextTable(head, rows),))


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
    lead = "Mean over seeds, cohorts of one size. Uniform in black, the three best in colour, all others in grey."
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
            ("Seeds", _listed(bench.about["seeds"])),
            ("Seeds that chose the momentum", _listed(bench.about.get("tuned") or ()) or MISSING),
            ("Uniform runs that others are matched with", _ladder(bench)),
            ("World", ", ".join(f"{key} {value}" for key, value in world.items())),
            ("Runs", plural(sum(line.runs for line in bench.of(bench.overall)), "run")),
        ),
        numeric=False,
    )
    return PageSection("details", "Details", "Partition by partition", "", (), (*tables, settings))


def _ladder(bench: BenchFolder) -> str:
    """Return the uniform runs that others are matched with, in words."""
    steps = [step for step in bench.about["ladder"] if step["rung"]]
    return "; ".join(f"{plural(step['cohort'], 'client')}, {plural(step['rounds'], 'round')}" for step in steps)


def _setting_table(bench: BenchFolder, setting: str) -> TextTable:
    """Return every method's figures in one setting, folded away."""
    names = tuple(f"at equal {_NAMES[name]}" for name in bench.currencies)
    rows = tuple(
        (
            line.selector,
            number_text(_figure_of(line, "average_precision").mean),
            *(_difference(line, name) for name in bench.currencies),
            signed(line.equal_cohort.mean, 3),
            f"{line.reached} of {line.runs}",
        )
        for line in best_first(bench.of(setting))
    )
    head = (setting, "Average precision", *names, "with the same cohort", "Reached")
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
