"""The comparison over several seeds: each seed has its own split of machines, first weights and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.errors import ConfigError
from werkbund.evaluation import mean_interval, paired_difference
from werkbund.federation.account import Run
from werkbund.federation.folder import Folder
from werkbund.federation.job import run
from werkbund.federation.watch import Nobody, Watcher
from werkbund.report import write_report

METRICS = ("average_precision", "roc_auc", "f1", "recall", "precision", "cost", "brier")


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


def compare(
    config: Config | None = None,
    seeds: Sequence[int] = range(5),
    *,
    out: Path | None = None,
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
    runs: list[Run] = []
    for number, seed in enumerate(seeds):
        watcher.stage(f"seed {seed}, {number + 1} of {len(seeds)}")
        seeded = changed(config, federation={"seed": seed})
        runs.append(run(seeded, out=folder.path / f"seed-{seed}", watcher=watcher, command=command))
    table = {"seeds": list(seeds), "rows": _rows([done.summary["metrics"] for done in runs])}
    folder.write_json("comparison.json", table)
    first = Folder.existing(runs[0].folder)
    for name in ("run.json", "result.json", "model_card.json"):
        folder.write_json(name, first.read_json(name))
    folder.write_config(changed(config, federation={"seed": seeds[0]}))
    write_report(folder.path)
    return SeedComparison(folder.path, folder.read_json("comparison.json"))


def _rows(by_seed: Sequence[dict[str, dict[str, float | None]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for who in by_seed[0]:
        for metric in METRICS:
            values = [_number(scores[who][metric]) for scores in by_seed]
            rows.append({"who": who, "metric": metric, **mean_interval(values).to_json(), "values": values})
    for rival in by_seed[0]:
        if rival != "federated":
            ours = [_number(scores["federated"]["average_precision"]) for scores in by_seed]
            theirs = [_number(scores[rival]["average_precision"]) for scores in by_seed]
            difference = paired_difference(ours, theirs).to_json()
            name = f"federated minus {rival}"
            values = [a - b for a, b in zip(ours, theirs, strict=True)]
            rows.append({"who": name, "metric": "average_precision", **difference, "values": values})
    return rows


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
