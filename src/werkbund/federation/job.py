"""The main jobs: a run from a configuration to a folder with model and report; resuming it; runs of several seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.errors import CheckpointError, ConfigError, DataError
from werkbund.data.checks import Finding, check, dealt_anew
from werkbund.engine import Checkpoint
from werkbund.evaluation import Contest, mean_contest, rows_over_seeds
from werkbund.evaluation.watch import Nobody, Watcher
from werkbund.federation.account import Run, about_run, summary_of, with_contributions, write_models
from werkbund.federation.attacked import about_attack, with_attack
from werkbund.federation.clustered import members_models, with_clusters, worse_off
from werkbund.federation.comparison import federated_only, result_of
from werkbund.federation.families.contract import Simulation
from werkbund.federation.families.family import family_of
from werkbund.federation.folder import Folder
from werkbund.federation.later import with_later_period
from werkbund.federation.population import Division, divide, partition_of
from werkbund.federation.rivals import compare_with
from werkbund.federation.scoring import reference_of
from werkbund.federation.tables import read_table
from werkbund.federation.training import Outlets, train
from werkbund.report import write_report


@dataclass(frozen=True)
class SeedComparison:
    """Hold the comparison over seeds.

    Parameters
    ----------
    folder
        Where it lies, with one run's folder a seed in it.
    table
        The content of comparison.json: seeds, and one row a contender and metric with mean, interval and values.
    """

    folder: Path
    table: dict[str, Any]


@dataclass(frozen=True)
class _Prepared:
    division: Division
    findings: tuple[Finding, ...]
    setup: Simulation


def run(
    config: Config | None = None,
    *,
    out: Path | str | None = None,
    compare: bool = True,
    report: bool = True,
    watcher: Watcher | None = None,
    seen: Callable[[Sequence[Finding]], None] | None = None,
    command: Sequence[str] = (),
) -> Run:
    """Do the main job.

    Parameters
    ----------
    config
        None is the built-in federation.
    out
        The run's folder, new or empty; None is a fresh one under `runs/`.
    compare
        Whether to train the baselines: each plant alone, all rows in one place, and trees on these.
    report
        Whether to write the report, which `write_report` can do later.
    watcher
        Who is told how it goes.
    seen
        Who is shown what the checks of the table found, before anything is learnt.
    command
        How it was called, for the report.

    Raises
    ------
    ConfigError
        If a section does not fit the model, the data or the folder.
    DataError
        If the rows cannot be read or learnt from.
    QuorumError
        If too few clients answer in a round.
    """
    began, watcher = time.perf_counter(), watcher or Nobody()
    prepared = _prepare(config or Config(), watcher, seen)
    config = prepared.setup.config
    folder = Folder.create(config.federation.name, out)
    with folder.in_use():
        folder.write_config(config)
        about = about_run(folder.path.name, prepared.setup, prepared.division, prepared.findings, command)
        about |= about_attack(config, prepared.division.population.names)
        folder.write_json("run.json", {**about, "config": folder.settings(), "compare": compare})
        done = _train_and_finish(folder, prepared, None, compare, watcher, began)
        if report:
            write_report(folder.path)
        return done


def resume(path: Path | str, watcher: Watcher | None = None) -> Run:
    """Go on with a run that was stopped, to the same result as if it had not been.

    Raises
    ------
    CheckpointError
        If the folder cannot be continued, or data or code are no longer those of the run.
    """
    began, watcher = time.perf_counter(), watcher or Nobody()
    folder = Folder.existing(path)
    with folder.in_use():
        checkpoint = folder.load_checkpoint()
        about = folder.read_json("run.json")
        folder.check_not_edited(about)
        prepared = _prepare(folder.read_config(), watcher)
        _check_same(about, prepared)
        folder.forget_rounds_after(checkpoint.round)
        done = _train_and_finish(folder, prepared, checkpoint, bool(about.get("compare", True)), watcher, began)
        write_report(folder.path)
        return done


def compare(
    config: Config | None = None,
    seeds: Sequence[int] = range(5),
    *,
    out: Path | str | None = None,
    watcher: Watcher | None = None,
    command: Sequence[str] = (),
) -> SeedComparison:
    """Run the main job once a seed, and put means with confidence intervals side by side.

    Parameters
    ----------
    config
        None is the built-in federation.
    seeds
        At least two.
    out
        Folder for all of it; None is a fresh one under `runs/`.
    watcher
        Who is told how it goes.
    command
        How it was called, for the report.
    """
    if len(seeds) < 2:
        raise ConfigError(f"seeds must be at least 2 for an interval, got {len(seeds)}")
    config, watcher = config or Config(), watcher or Nobody()
    folder = Folder.create(f"{config.federation.name}-compare", out)
    with folder.in_use():
        runs: list[Run] = []
        for number, seed in enumerate(seeds):
            watcher.stage(f"seed {seed}, {number + 1} of {len(seeds)}")
            seeded = changed(config, federation={"seed": seed})
            runs.append(run(seeded, out=folder.path / f"seed-{seed}", watcher=watcher, command=command))
        contests = [
            Contest.from_json(Folder.existing(done.folder).read_json("result.json")["own_rows"]) for done in runs
        ]
        rows = rows_over_seeds([done.summary["metrics"] for done in runs])
        table = {
            "note": runs[0].summary["data"]["note"],
            "seeds": list(seeds),
            "rows": rows,
            "own_rows": mean_contest(contests).to_json(),
        }
        folder.write_json("comparison.json", table)
        first = Folder.existing(runs[0].folder)
        for name in ("run.json", "result.json", "model_card.json"):
            folder.write_json(name, first.read_json(name))
        folder.write_config(changed(config, federation={"seed": seeds[0]}))
        write_report(folder.path)
        return SeedComparison(folder.path, folder.read_json("comparison.json"))


def _prepare(config: Config, watcher: Watcher, seen: Callable[[Sequence[Finding]], None] | None = None) -> _Prepared:
    watcher.stage("reading the table")
    table = read_table(config)
    if table.origin.path is not None and config.data.path is None and not config.data.clients:
        config = changed(config, data={"path": table.origin.path})  # a resumed run must find the same file
    findings = (*check(table), *dealt_anew(table, *partition_of(table, config.clients)))
    if seen is not None:
        seen(findings)
    errors = [f"{finding.column}: {finding.full_message}" for finding in findings if finding.level == "error"]
    if errors:
        raise DataError("the table cannot be learnt from.\n" + "\n".join(errors))
    division = divide(table, config)
    watcher.stage(f"learning the common scaling from {len(division.population.names)} clients' counts")
    return _Prepared(division, findings, family_of(config).simulate(config, division.population))


def _check_same(about: Mapping[str, Any], prepared: _Prepared) -> None:
    origin, setup = prepared.division.table.origin, prepared.setup
    now = {
        "data.sha256": (about["data"].get("sha256"), origin.sha256),
        "clients": (about["clients"], list(prepared.division.population.names)),
        "preparation": (about["preparation"], setup.preparation.fingerprint),
        "layout.fingerprint": (about["layout"]["fingerprint"], setup.rules.fingerprint),
    }
    for name, (before, after) in now.items():
        if before != after:
            raise CheckpointError(
                f"{name} was {before!r} when the run began and is {after!r} now; restore it, or start a new run"
            )


def _train_and_finish(
    folder: Folder, prepared: _Prepared, start: Checkpoint | None, compare: bool, watcher: Watcher, began: float
) -> Run:
    setup, population = prepared.setup, prepared.division.population
    watcher.stage(f"training {setup.num_rounds} rounds")
    trained = train(setup, start, Outlets(watcher, folder.save_checkpoint, folder.append_round))
    comparison = compare_with(setup, trained, population, watcher) if compare else federated_only(setup, trained)
    watcher.stage("writing model and report")
    kept = {client: comparison.local[client] for client in worse_off(setup, trained, comparison, population)}
    models = members_models(setup, trained, population.schema.label, kept)
    result = result_of(comparison, trained, population.names, time.perf_counter() - began)
    result = with_attack(with_later_period(result, setup, population, trained, comparison), setup, population, trained)
    result = with_contributions(result, folder, population.names)
    result = with_clusters(result, trained, population.names, kept)
    folder.write_json("result.json", result)
    write_models(folder, models, result, setup.config)
    reference_of(models[0].model, population).write(folder.path)
    return Run(folder.path, summary_of(folder, result, trained, began))
