"""The command alarms: what a model's alarms would have come to on readings and a log of stops."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from werkbund.cli.edge import JsonOption, RunArgument, output, print_json, print_line, readable_errors
from werkbund.cli.tables import plain_table
from werkbund.cli.work import log_at
from werkbund.core.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from werkbund.config import Config
    from werkbund.data.time.events import LogTable
    from werkbund.data.time.rows import Course
    from werkbund.evaluation.alarm_trials import AlarmTrial
    from werkbund.evaluation.alarms import AlarmCounts, AlarmRule, MachineRecord
    from werkbund.evaluation.intervals import Interval
    from werkbund.model import Model

_FIGURES = ("failures", "detected", "blind", "true", "false", "late", "undecided")


def alarms_command(
    run_dir: RunArgument,
    data: Annotated[Path, typer.Argument(metavar="READINGS", help="Readings of machines, with history.")],
    events: Annotated[Path, typer.Option("--events", help="Log of their failures and planned stops.")],
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0, max=1, help="Probability; by default the cheapest on other machines."),
    ] = None,
    most_false: Annotated[
        float, typer.Option("--most-false", min=0, help="False alarms a machine and month that may be chosen.")
    ] = 0.25,
    needed: Annotated[int, typer.Option("--needed", min=1, help="Points at the threshold that ring an alarm,")] = 2,
    of: Annotated[int, typer.Option("--of", min=1, help="of so many last points.")] = 3,
    planned: Annotated[float, typer.Option("--planned", min=0, help="Cost of a repair that an alarm planned.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Count a model's alarms as a crew does: failures foreseen, how long before, how often for nothing."""
    with readable_errors():
        from werkbund.config import load_config
        from werkbund.evaluation.alarm_trials import try_alarms
        from werkbund.evaluation.alarms import AlarmCosts
        from werkbund.learner.counts import logits_of
        from werkbund.model import load_model

        config, model = load_config(run_dir / "config.toml"), load_model(run_dir / "model")
        course = _course(config, model)
        records = _records(model, course, *_read(config, course, data, events))
        costs = AlarmCosts(config.evaluation.missed_failure, config.evaluation.needless_inspection, planned)
        risk = None if threshold is None else float(logits_of(threshold))
        trial = try_alarms(records, _rule(course, needed, of), costs, risk, most_false)
        if as_json:
            print_json(_to_json(trial))
        else:
            _show(trial, course.telemetry.windows.counts)


def _course(config: Config, model: Model) -> Course:
    """Return how a model's rows are made, by the run's configuration.

    Raises
    ------
    ConfigError
        If it reads no windows.
    """
    from werkbund.data.time.clock import Clock
    from werkbund.data.time.rows import Course, rule_of

    telemetry = model.preparation.telemetry
    if telemetry is None:
        raise ConfigError("RUN must hold a model that reads windows of readings, got one of rows; use werkbund predict")
    return Course(telemetry, rule_of(config.data.windows.model_dump()), Clock(config.data.zone), config.data.client)


def _read(config: Config, course: Course, data: Path, events: Path) -> tuple[pl.DataFrame, LogTable | None]:
    """Return the readings in wide form and the log."""
    from werkbund.data import source_for
    from werkbund.data.time.rows import in_wide_form

    described = config.data
    frame = in_wide_form(source_for(data).read()[0], described.model_dump(), described.client)
    return frame, log_at(events, described, course.telemetry)


def _records(model: Model, course: Course, frame: pl.DataFrame, log: LogTable | None) -> dict[str, MachineRecord]:
    from werkbund.evaluation.alarm_trials import Stops, machine_records

    points, stops = course.watched(frame, log, time.time_ns() // 1000)
    unit = course.telemetry.windows.unit
    start, back, names = stops["start"] / unit, stops["back"] / unit, stops["machine"]
    return machine_records(
        points["machine"].to_numpy(),
        (points["tick"] / unit).to_numpy(),
        model.logits(points).astype(float),
        (points["end"] / unit).to_numpy(),
        Stops(names.to_numpy(), start.to_numpy(), back.to_numpy(), stops["planned"].to_numpy()),
    )


def _rule(course: Course, needed: int, of: int) -> AlarmRule:
    from werkbund.evaluation.alarms import AlarmRule

    unit = course.telemetry.windows.unit
    return AlarmRule.of_horizon(course.rule.dead / unit, course.rule.horizon / unit, needed, max(of, needed))


def _probability(risk: float) -> float:
    from werkbund.model import sigmoid

    return float(sigmoid(risk))


def _to_json(trial: AlarmTrial) -> dict[str, Any]:
    """Return all figures as plain values; a threshold of null never rings."""
    counts, costs = trial.counts, trial.costs
    return {
        "thresholds": [None if math.isinf(risk) else _probability(risk) for risk in trial.thresholds],
        **{name: getattr(counts, name) for name in _FIGURES},
        "machines": len(trial.by_machine),
        "machine_months": counts.months,
        "recall": counts.recall_interval.to_json(),
        "precision": counts.precision,
        "false_a_month": trial.false_interval.to_json(),
        "median_lead": counts.median_lead,
        "cost_a_month": costs.a_month(counts),
        "cost_a_month_without": costs.a_month(trial.counts.silent),
        "saving_a_month": trial.saving.to_json(),
        "by_machine": {name: _of_machine(counts) for name, counts in trial.by_machine.items()},
    }


def _of_machine(counts: AlarmCounts) -> Mapping[str, Any]:
    return {**{name: getattr(counts, name) for name in _FIGURES}, "machine_months": counts.months}


def _show(trial: AlarmTrial, counted: bool) -> None:
    """Print what the alarms came to: the verdict first, then the figures."""
    unit = "units" if counted else "h"
    print_line(f"{_verdict(trial)}\n")
    output().print(_table(trial, unit))
    rule = trial.rule
    thresholds = " and ".join("none" if math.isinf(risk) else f"{_probability(risk):.3g}" for risk in trial.thresholds)
    how = "given" if len(trial.thresholds) == 1 else "each half of the machines at what the other half chose"
    print_line(
        f"\nAn alarm rings where {rule.needed} of the last {rule.of} points reach the threshold ({thresholds}; {how}), "
        f"and then not for {rule.hold_off:g} {unit}; it is true {rule.earliest:g} to {rule.latest:g} {unit} before a "
        "failure. Machines that the model learnt from look better than new ones."
    )


def _verdict(trial: AlarmTrial) -> str:
    saving = trial.saving
    if not trial.counts.failures:
        return "No failure was watched: nothing can be said of what alarms find, only how often they ring."
    if saving.low > 0:
        return f"Alarms pay: they save {_between(saving)} a machine and month against no alarms."
    if saving.high < 0:
        return f"Alarms cost more than no alarms: {_between(saving.turned())} a machine and month."
    return f"No clear difference to no alarms: {_between(saving)} a machine and month."


def _between(interval: Interval) -> str:
    return f"{interval.mean:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def _table(trial: AlarmTrial, unit: str) -> Table:
    counts = trial.counts
    table = plain_table(f"Alarms on {len(trial.by_machine)} machines, {counts.months:.1f} machine months")
    table.show_header = False
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    recall = counts.recall_interval
    blind = f"; {counts.blind} without a reading in time" if counts.blind else ""
    share = f", {recall.mean:.0%} ({recall.low:.0%} to {recall.high:.0%})" if counts.failures else ""
    table.add_row("failures foreseen", f"{counts.detected} of {counts.failures}{share}{blind}")
    if counts.detected:
        table.add_row("how long before", f"{counts.lead / counts.detected:.3g} {unit} on average")
    table.add_row("false alarms", f"{counts.false}, a machine and month {_between(trial.false_interval)}")
    table.add_row("true, late, undecided", f"{counts.true}, {counts.late}, {counts.undecided}")
    without = trial.costs.a_month(trial.counts.silent)
    table.add_row("cost", f"{trial.costs.a_month(counts):.3g} a machine and month; without alarms {without:.3g}")
    return table
