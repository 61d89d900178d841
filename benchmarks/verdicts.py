"""Try the verdict on tables whose truth is known: what it says of each over many seeds, and what is right.

python -m benchmarks.verdicts --seeds 20 --first 200
python -m benchmarks.verdicts --only alike opposed --seeds 3

A table is drawn anew for each seed, with the plants' own rules of failure, so that the truth is known without any
model. Most rows are held out, so that what is true shows. Right is what a person would say who knows these rules.
Seeds below 200 were used while the rule and the tables were written: with a share of failures of .06 in place of .08,
seeds 100 to 119 were level in 2 and 3 of 20 where twelve plants are alike.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from torch import set_num_threads

from werkbund.config import check_config
from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import DataError
from werkbund.evaluation import Contest, Ruling, rule
from werkbund.federation import run
from werkbund.report.folder import read_run

MACHINES, NUM_READINGS = 16, 6
REFUSED = "refused"
"""The outcome where a run is refused, since its training rows hold no failure."""
ROUNDS = 40


@dataclass(frozen=True)
class Drawn:
    """Hold one plant's rows: readings (rows, readings) and failures (rows,)."""

    readings: Float64Array
    failures: BoolArray


Draw = Callable[[np.random.Generator], Sequence[Drawn]]


@dataclass(frozen=True)
class Case:
    """Hold a kind of table, with what is right to say of it.

    Parameters
    ----------
    name, about
        For people.
    draw
        Draws every plant's rows.
    right
        The outcomes that are right.
    useful
        Whether a model can beat having none: yes, no, or None where it depends on the draw.
    kind
        The model that is federated.
    """

    name: str
    about: str
    draw: Draw
    right: Collection[str]
    useful: bool | None = True
    kind: str = "mlp"


def _failing(risk: Float64Array, share: float, rng: np.random.Generator, noise: float = 0.4) -> BoolArray:
    """Let the rows of highest risk fail, up to some noise."""
    noisy = risk + rng.normal(0, noise * (risk.std() or 1.0), len(risk))
    return noisy >= np.quantile(noisy, 1 - share)


def _alike(
    rng: np.random.Generator,
    sizes: Sequence[int] = (500,) * 12,
    share: float = 0.08,
    slopes: Float64Array | None = None,
    shifts: Float64Array | None = None,
) -> list[Drawn]:
    """Draw plants with one rule of six readings, or with slopes (plants, readings) and shifts of each plant's own."""
    common = np.array([1.0, -1.0, 0.8, 0.8, -0.6, 0.6])
    plants = []
    for number, rows in enumerate(sizes):
        readings = rng.normal(size=(rows, NUM_READINGS))
        slope = common if slopes is None else slopes[number]
        risk = np.maximum(readings[:, 0], readings[:, 1]) + readings @ slope
        shift = 0.0 if shifts is None else shifts[number]
        plants.append(Drawn(readings + shift, _failing(risk, share, rng)))
    return plants


def _opposed(rng: np.random.Generator, sizes: Sequence[int] = (600,) * 6) -> list[Drawn]:
    """Draw plants of which one half fails where the other half is well."""
    slope = np.array([2.0, 2.0, 1.0, 0.0, 0.0, 0.0])
    slopes = np.array([slope if number % 2 else -slope for number in range(len(sizes))])
    return [
        Drawn(readings := rng.normal(size=(rows, NUM_READINGS)), _failing(readings @ slopes[number], 0.15, rng, 0.2))
        for number, rows in enumerate(sizes)
    ]


def _dominated(rng: np.random.Generator) -> list[Drawn]:
    """Draw one large plant and six small ones, all alike."""
    return _alike(rng, (5000, *(300,) * 6))


def _noisy_at_one(rng: np.random.Generator) -> list[Drawn]:
    """Turn over a tenth of the labels of one plant among plants that are alike."""
    plants = _alike(rng)
    turned = rng.random(len(plants[0].failures)) < 0.1
    return [Drawn(plants[0].readings, plants[0].failures ^ turned), *plants[1:]]


def _nothing_to_learn(rng: np.random.Generator, share: float = 0.05) -> list[Drawn]:
    """Draw failures that no reading foretells."""
    return [Drawn(rng.normal(size=(600, NUM_READINGS)), rng.random(600) < share) for _ in range(6)]


def _rare(rng: np.random.Generator) -> list[Drawn]:
    """Draw plants with two failures each, or none."""
    return _alike(rng, (300,) * 5, 0.007)


def _easy(rng: np.random.Generator) -> list[Drawn]:
    """Draw failures that one reading tells without doubt, so that each plant knows everything alone."""
    plants = [rng.normal(size=(600, NUM_READINGS)) for _ in range(6)]
    return [Drawn(readings, readings[:, 0] > np.quantile(readings[:, 0], 0.85)) for readings in plants]


def _steps(rng: np.random.Generator) -> list[Drawn]:
    """Draw plants with many rows whose failures follow steps, which trees learn and a straight line cannot."""
    plants = []
    for _ in range(5):
        readings = rng.normal(size=(900, NUM_READINGS))
        fails = (readings[:, 0] * readings[:, 1] > 0.6) & (readings[:, 2] > -0.5)
        plants.append(Drawn(readings, fails ^ (rng.random(900) < 0.01)))
    return plants


def _shifted(rng: np.random.Generator) -> list[Drawn]:
    """Draw plants that each fail above a setpoint of their own, so that a common level means nothing."""
    plants = []
    for number in range(6):
        readings = rng.normal(size=(600, NUM_READINGS))
        setpoint = 6.0 * (number % 2) + number
        sign = 1.0 if number % 3 else -1.0
        fails = _failing(sign * readings[:, 0], 0.12, rng, 0.15)
        readings[:, 0] += setpoint
        plants.append(Drawn(readings, fails))
    return plants


def _drifting(rng: np.random.Generator) -> list[Drawn]:
    """Draw plants that are alike, and whose readings move on with time together."""
    plants = _alike(rng)
    return [
        Drawn(plant.readings + np.linspace(0, 0.3, len(plant.failures))[:, None], plant.failures) for plant in plants
    ]


def _two_sizes(rng: np.random.Generator) -> list[Drawn]:
    """Draw plants that are alike and very small."""
    return _alike(rng, (250,) * 24, 0.08)


def _one_outsider(rng: np.random.Generator) -> list[Drawn]:
    """Draw plants that are alike, and one that fails where they are well, as one of its readings tells."""
    plants = _alike(rng, (500,) * 12)
    outsider = _opposed(rng, (500,))[0]
    return [*plants, Drawn(outsider.readings + 4.0 * (np.arange(NUM_READINGS) == 5), outsider.failures)]


CASES: tuple[Case, ...] = (
    Case("alike", "twelve plants with one rule, few failures each", _alike, {"pays"}),
    Case("small", "twenty-four small plants with one rule", _two_sizes, {"pays"}),
    Case("noisy", "the same, a tenth of one plant's labels wrong", _noisy_at_one, {"pays"}),
    Case("drifting", "the same, readings drift with time", _drifting, {"pays"}),
    Case("outsider", "twelve alike, one of another kind, trees", _one_outsider, {"pays", "mixed"}, True, "trees"),
    Case("dominated", "one large plant, six small ones, one rule", _dominated, {"pays", "mixed"}),
    Case("opposed", "one half fails where the other is well", _opposed, {"loses"}, None, "logistic"),
    Case("shifted", "each plant has a setpoint and a direction of its own", _shifted, {"loses"}, None, "logistic"),
    Case("steps", "steps that a plant's own trees learn, a line cannot", _steps, {"loses"}, None, "logistic"),
    Case("easy", "one reading tells everything", _easy, {"level", "loses"}),
    Case("noise", "nothing to learn", _nothing_to_learn, {"level"}, False),
    Case("rare", "ten failures in all", _rare, {"level", REFUSED}, None),
)


@dataclass(frozen=True)
class Said:
    """Hold what the verdict said of one draw of a case."""

    case: str
    seed: int
    outcome: str
    useful: bool
    gain: float


def try_case(case: Case, seed: int) -> Said:
    """Draw a case's table, run the federation on it, and return what the verdict says; refused where none is run."""
    try:
        ruling, _ = judged(case, seed)
    except DataError:
        return Said(case.name, seed, REFUSED, False, math.nan)
    return Said(case.name, seed, ruling.outcome, ruling.surely_useful, ruling.gain.mean)


def judged(case: Case, seed: int, **sections: Mapping[str, object]) -> tuple[Ruling, Contest]:
    """Run the federation on a draw of a case, with every contender; sections given stand beside the case's own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        frame_of(case.draw(np.random.default_rng(seed)), seed).write_csv(path)
        done = run(check_config({**settings_of(case, path, seed), **sections}), out=Path(folder) / "run")
        contest = read_run(done.folder).own_rows
    assert contest is not None
    return rule(contest), contest


def frame_of(plants: Sequence[Drawn], seed: int) -> pl.DataFrame:
    """Return the rows of all plants as one table."""
    frames = []
    for number, plant in enumerate(plants):
        rows = len(plant.failures)
        machines = np.arange(rows) * MACHINES // rows
        frames.append(
            pl.DataFrame(
                {
                    "plant": [f"plant {number}"] * rows,
                    "machine": [f"{number}-{machine}" for machine in machines],
                    **{f"reading {place}": plant.readings[:, place] for place in range(NUM_READINGS)},
                    "failure": plant.failures.astype(int),
                }
            )
        )
    return pl.concat(frames)


def settings_of(case: Case, path: Path, seed: int) -> dict[str, object]:
    """Return the configuration of a run on a drawn table."""
    return {
        "federation": {"rounds": ROUNDS, "seed": seed, "name": case.name},
        "data": {
            "path": str(path),
            "label": "failure",
            "machine": "machine",
            "client": "plant",
            "columns": {f"reading {place}": {"kind": "number"} for place in range(NUM_READINGS)},
        },
        "clients": {"partition": "by-column", "test": 0.6, "validation": 0.1},
        "model": {"kind": case.kind, **({"hidden": [16]} if case.kind == "mlp" else {})},
    }


def is_right(case: Case, said: Said) -> bool:
    """Say whether a verdict is one that a person who knows the case would give."""
    return said.outcome in case.right and case.useful in (None, said.useful)


def summary(all_said: Sequence[Said]) -> Table:
    """Return how often the verdict was right, by case."""
    table = Table(box=None, title="What the verdict says of tables whose truth is known", title_justify="left")
    for head in ("case", "table", "right", "outcomes", "mean gain"):
        table.add_column(head)
    for case in CASES:
        own = [said for said in all_said if said.case == case.name]
        if own:
            outcomes = Counter(said.outcome + ("" if said.useful else ", no model needed") for said in own)
            right = sum(is_right(case, said) for said in own)
            words = "; ".join(f"{word} {count}" for word, count in outcomes.most_common())
            gain = f"{np.nanmean([said.gain for said in own]):+.3f}"
            table.add_row(case.name, case.about, f"{right} of {len(own)}", words, gain)
    return table


def main() -> None:
    """Try cases over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    cases = [case for case in CASES if case.name in given.only]
    with ProcessPoolExecutor(given.processes, initializer=partial(set_num_threads, 1)) as pool:
        jobs = [pool.submit(try_case, case, given.first + k) for case in cases for k in range(given.seeds)]
        all_said = []
        for job in as_completed(jobs):
            all_said.append(job.result())
            print(all_said[-1], file=sys.stderr, flush=True)
    Console().print(summary(all_said))


if __name__ == "__main__":
    main()
