"""Whether explanations name the true cause of failures on the real AI4I file, whose modes the model does not see.

python -m benchmarks.causes                         # trains trees and a network on the file
python -m benchmarks.causes --kinds trees --seeds 3

Each failure mode of the file follows from quantities that are written down with it: heat from the difference of two
temperatures and the speed, power from torque and speed, overstrain from wear times torque, tool wear from the wear
alone. Counted are failures of the test rows that the model announces and that have one mode. A reason names the cause
if it is one of the mode's quantities. Beside that stands how often the same reasons would name the cause of the other
modes, which a reason that is always told would do as often.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from werkbund.config import Config, check_config, load_config
from werkbund.data import rules
from werkbund.federation import run
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.inference import Reason, Reasons
from werkbund.model import Model, load_model

CAUSES = {
    "TWF": (rules.WEAR,),
    "HDF": ("temperature_difference", rules.AIR, rules.PROCESS, rules.SPEED),
    "PWF": ("power",),
    "OSF": ("overstrain",),
}
"""Failure mode -> the quantities that it follows from."""


def announced(model: Model, config: Config) -> tuple[pl.DataFrame, list[str]]:
    """Return the test rows of failures that are announced and have one mode, and that mode of each."""
    population = divide(read_table(config), config).population
    test, names = population.splits["test"], list(population.mode_names)
    flags = test.modes[test.rows][:, [names.index(mode) for mode in CAUSES]]
    frame = test.frame[test.rows]
    failed = population.schema.labels(frame) > 0
    chosen = np.flatnonzero((flags.sum(axis=1) == 1) & failed & model.decide(frame))
    modes = [list(CAUSES)[place] for place in flags[chosen].argmax(axis=1).tolist()]
    return frame[chosen], modes


def told(model: Model, frame: pl.DataFrame) -> list[tuple[Reason, ...]]:
    """Return the reasons for each row's announcement."""
    return Reasons(model.preparation).of(frame, model.explain(frame), np.ones(frame.height, np.bool_))


def names_cause(reasons: Sequence[Reason], mode: str) -> bool:
    """Say whether one of the reasons is a quantity that the mode follows from."""
    return any(reason.name in CAUSES[mode] for reason in reasons)


def count(model: Model, config: Config) -> dict[str, Counter[str]]:
    """Return for each mode, and for all, how often reasons name the cause, and would name another mode's."""
    frame, modes = announced(model, config)
    counted = {mode: Counter[str]() for mode in (*CAUSES, "all")}
    for reasons, mode in zip(told(model, frame), modes, strict=True):
        facts = {
            "rows": True,
            "first": names_cause(reasons[:1], mode),
            "first two": names_cause(reasons[:2], mode),
            "first three": names_cause(reasons, mode),
            "others, first": float(np.mean([names_cause(reasons[:1], other) for other in CAUSES if other != mode])),
            "others, first three": float(np.mean([names_cause(reasons, other) for other in CAUSES if other != mode])),
            f"first is {reasons[0].name}": True,
        }
        for which in (mode, "all"):
            counted[which].update(facts)
    return counted


def main() -> None:
    """Train, count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="*", default=["trees", "mlp"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="Folders of finished runs, instead.")
    arguments = parser.parse_args()
    console = Console(width=150)
    for folder in arguments.runs:
        _show(console, str(folder), [folder])
    if arguments.runs:
        return
    with tempfile.TemporaryDirectory() as place:
        for kind in arguments.kinds:
            folders = []
            for seed in range(arguments.seeds):
                config = check_config({"model": {"kind": kind}, "federation": {"seed": seed}})
                folders.append(run(config, out=Path(place) / f"{kind}-{seed}", compare=False).folder)
            _show(console, kind, folders)


def _show(console: Console, title: str, folders: Sequence[Path]) -> None:
    total = {mode: Counter[str]() for mode in (*CAUSES, "all")}
    for folder in folders:
        for mode, counted in count(load_model(folder / "model"), load_config(folder / "config.toml")).items():
            total[mode].update(counted)
    grid = Grid(title=f"{title}: announced test failures whose cause is named")
    columns = ("rows", "first", "first two", "first three", "others, first", "others, first three")
    for column in ("mode", *columns, "first reasons"):
        grid.add_column(column)
    for mode, counted in total.items():
        shares = [f"{counted[each] / max(counted['rows'], 1):.0%}" for each in columns[1:]]
        firsts = ", ".join(f"{key[9:]} {n:g}" for key, n in counted.most_common() if key.startswith("first is "))
        grid.add_row(mode, f"{counted['rows']:g}", *shares, firsts)
    console.print(grid)


if __name__ == "__main__":
    main()
