"""The defaults beside values near them, on machines that no reported figure is about.

python -m benchmarks.tuning
python -m benchmarks.tuning --model forest --seeds 10

Machines that `partition.split.is_outer` names are dropped; each seed divides the other machines of each plant anew. A
setting is scored by the average precision on inner machines that were held out, and compared with the defaults seed by
seed. The figures that a reader is shown are those of the outer machines: `werkbund compare --set clients.outer=report`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

from werkbund.config import Config, check_config
from werkbund.evaluation import mean_interval, paired_difference, score_counts
from werkbund.federation.families.family import family_of
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.federation.wiring import costs_of

Values = Mapping[str, Any]
"""Values by `section.key`, or `section.section.key`."""

NETWORKS: tuple[Values, ...] = (
    {},
    {"training.learning_rate": 0.2},
    {"training.learning_rate": 0.4},
    {"training.weight_decay": 0.0001},
    {"training.weight_decay": 0.001},
    {"training.batch_size": 32},
    {"federation.rounds": 100},
    {"federation.rounds": 200},
    {"model.hidden": [128, 64]},
    {"strategy.aggregation.momentum": 0.8},
    {"strategy.aggregation.momentum": 0.0},
    {"training.clip_norm": 1.0},
)
TREES: tuple[Values, ...] = (
    {},
    {"trees.max_depth": 4},
    {"trees.max_depth": 7},
    {"trees.min_child_rows": 2},
    {"trees.min_child_rows": 10},
    {"trees.learning_rate": 0.05},
    {"trees.l2": 5.0},
)
FOREST: tuple[Values, ...] = (
    {},
    {"trees.max_depth": 8},
    {"trees.max_depth": 16},
    {"trees.min_child_rows": 5},
    {"trees.node_features": 0.3},
    {"trees.node_features": 1.0},
)
SETTINGS: Mapping[str, tuple[Values, ...]] = {"mlp": NETWORKS, "trees": TREES, "forest": FOREST}
"""By `model.kind`: the defaults first, then one value changed at a time."""


def config_of(kind: str, values: Values, seed: int) -> Config:
    """Return the configuration of one run on inner machines."""
    sections: dict[str, Any] = {"clients": {"outer": "tune"}, "model": {"kind": kind}, "federation": {"seed": seed}}
    for key, value in values.items():
        *above, name = key.split(".")
        place = sections
        for part in above:
            place = place.setdefault(part, {})
        place[name] = value
    return check_config(sections)


def score_of(config: Config) -> float:
    """Return the average precision of a federation's kept model on inner machines that were held out."""
    division = divide(read_table(config), config)
    setup = family_of(config).simulate(config, division.population)
    trained = train(setup)
    scores, _ = score_counts(trained.counts, trained.edges, costs_of(config), setup.mode_names)
    return scores["test"].average_precision


def line_of(values: Values, scores: Sequence[float], usual: Sequence[float], seconds: float) -> str:
    """Return a setting's row of the table."""
    mean, difference = mean_interval(scores), paired_difference(scores, usual)
    name = ", ".join(f"{key} = {value}" for key, value in values.items()) or "**the defaults**"
    half = (difference.high - difference.low) / 2
    against = f"{difference.mean:+.3f} ± {half:.3f}" if values else ""
    return f"| {name} | {mean.mean:.3f} | {against} | {seconds:.1f} |"


def tune(kind: str, seeds: Sequence[int]) -> None:
    """Print the table of one kind of model, a row as soon as it is known."""
    print(f"\n{kind}, seeds {', '.join(map(str, seeds))}\n")
    print(
        "| setting | average precision | minus the defaults, 95 % interval | seconds a run |\n| --- | --- | --- | --- |"
    )
    usual: list[float] = []
    for values in SETTINGS[kind]:
        began = time.perf_counter()
        scores = [score_of(config_of(kind, values, seed)) for seed in seeds]
        usual = usual or scores
        print(line_of(values, scores, usual, (time.perf_counter() - began) / len(seeds)), flush=True)


def main() -> None:
    """Tune one kind of model, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SETTINGS, help="all of them if left out")
    parser.add_argument("--seeds", type=int, default=5, help="divisions of the inner machines")
    given = parser.parse_args()
    print(read_table(Config()).origin.note)
    for kind in [given.model] if given.model else SETTINGS:
        tune(kind, range(given.seeds))


if __name__ == "__main__":
    main()
