"""What a promise of privacy costs in average precision on AI4I, and what attacks on membership come to with it.

    python -m benchmarks.private --out private.json [--seeds 3] [--rounds 60]
    python -m benchmarks.private --out private.json --attacks
    python -m benchmarks.private --out private.json --plot docs/private.svg

The built-in federation of ten plants, whole tools held out, one small network over the test rows of all plants. Every
case takes the same steps: one a round over all rows, Adam at the server. Either each plant noises its sum for itself
(`own`), or all add shares inside secure sums (`shared`). Without a target gradients are clipped and not noised; `none`
has no unit at all. What is known is kept in the file, and not done again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from werkbund.audit.bounds import roc_of
from werkbund.audit.membership import MEMBERSHIP, shadows
from werkbund.config import Config, check_config
from werkbund.evaluation import mean_interval
from werkbund.federation import run
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table

Case = tuple[str, str, float | None]
"""Unit, whose noise, and target; the noise of nobody is the same shared or not."""

CLIPS = {"row": 1.0, "machine": 5.0}
TARGETS: tuple[float | None, ...] = (1.0, 2.0, 4.0, 8.0, None)
CASES: tuple[Case, ...] = (
    ("none", "own", None),
    *((unit, noise, target) for unit in CLIPS for target in TARGETS for noise in ("shared", "own")[target is None :]),
)

ATTACKED: tuple[Case, ...] = (("none", "own", None), ("row", "own", None), ("row", "own", 8.0), ("row", "own", 1.0))


def case_config(case: Case, seed: int, rounds: int) -> Config:
    """Return the configuration of a case."""
    unit, noise, target = case
    much = {"target_epsilon": target} if target is not None else {"noise_multiplier": 0.0}
    privacy: dict[str, Any] = {} if unit == "none" else {"unit": unit, "clip": CLIPS[unit], **much}
    if noise == "shared":
        privacy |= {"secure_sums": True, "strict": True, "shared_noise": True}
    return check_config(
        {
            "federation": {"rounds": rounds, "seed": seed},
            "model": {"kind": "mlp", "hidden": [16]},
            "training": {"learning_rate": 1.0, "schedule": "constant", "weight_decay": 0.0, "batch_size": 2**20},
            "strategy": {"aggregation": {"name": "fedadam", "step": 0.15}},
            "evaluation": {"keep_best": False},
            "privacy": privacy,
        }
    )


def average_precision(config: Config) -> float:
    """Return the average precision on all plants' test rows of one run."""
    with tempfile.TemporaryDirectory() as folder:
        run(config, out=Path(folder) / "run", compare=False)
        result = json.loads((Path(folder) / "run" / "result.json").read_text())
    return float(result["metrics"]["federated"]["average_precision"])


def attacked(config: Config, models: int = 8) -> dict[str, float]:
    """Return the areas under the curve of attacks on membership."""
    table = read_table(config)
    seen = shadows(config, divide(table, config).population, models)
    return {attack.card.name: roc_of(attack.scores(seen), seen.is_in[0]).auc for attack in MEMBERSHIP}


def name_of(case: Case) -> str:
    """Return a case in words."""
    unit, noise, target = case
    return f"{unit} {noise} {'inf' if target is None else f'{target:g}'}"


def work(given: argparse.Namespace, known: dict[str, Any]) -> Iterator[str]:
    """Fill in what is not known, and yield what was found."""
    if given.attacks:
        for case in ATTACKED:
            if name_of(case) not in known["attacks"]:
                known["attacks"][name_of(case)] = attacked(case_config(case, 0, given.rounds))
                yield f"{name_of(case)}: {known['attacks'][name_of(case)]}"
        return
    for seed in range(given.first, given.first + given.seeds):
        for case in CASES:
            reached = known["average_precision"].setdefault(name_of(case), {})
            if str(seed) not in reached:
                reached[str(seed)] = average_precision(case_config(case, seed, given.rounds))
                yield f"{name_of(case)} seed {seed}: {reached[str(seed)]:.3f}"


WIDTH, HEIGHT, LEFT, TOP = 300, 220, 50, 30
LINES = (("shared", "#1f6f8b", "shares inside sums"), ("own", "#c05746", "each plant for itself"))


def plot(known: Mapping[str, Any]) -> str:
    """Return a drawing of average precision against epsilon, a panel a unit."""
    panels = [_panel(known, unit, place) for place, unit in enumerate(CLIPS)]
    body = "\n".join(line for panel in panels for line in panel)
    told = ", ".join(f"{name} {auc['likelihood ratio (LiRA)']:.2f}" for name, auc in known["attacks"].items())
    foot = f'<text x="{LEFT}" y="{HEIGHT + TOP + 40}">Attack on membership (LiRA), area under the curve: {told}</text>'
    body = f'<rect width="100%" height="100%" fill="white"/>\n{body}\n{foot}'
    size = f'width="{len(CLIPS) * (WIDTH + LEFT) + 20}" height="{HEIGHT + 2 * TOP + 20}"'
    style = "font-family: sans-serif; font-size: 11px"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{style}">\n{body}\n</svg>\n'


def _panel(known: Mapping[str, Any], unit: str, place: int) -> Iterator[str]:
    left, names = place * (WIDTH + LEFT) + LEFT, [f"{target:g}" if target else "inf" for target in TARGETS]
    steps = {name: left + WIDTH * (number + 0.5) / len(names) for number, name in enumerate(names)}

    def height(value: float) -> float:
        return TOP + HEIGHT * (1 - value / 0.8)

    yield f'<text x="{left}" y="{TOP - 12}">{unit}: average precision against epsilon</text>'
    for mark in (0.0, 0.2, 0.4, 0.6, 0.8):
        yield f'<line x1="{left}" x2="{left + WIDTH}" y1="{height(mark):.1f}" y2="{height(mark):.1f}" stroke="#ddd"/>'
        yield f'<text x="{left - 26}" y="{height(mark) + 4:.1f}">{mark:.1f}</text>'
    for name, x in steps.items():
        words = "no noise" if name == "inf" else name
        yield f'<text x="{x:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{words}</text>'
    for number, (noise, colour, words) in enumerate(LINES):
        yield f'<text x="{left + 8}" y="{TOP + 14 + 14 * number}" fill="{colour}">{words}</text>'
        yield from _line(known, f"{unit} {noise}", steps, height, colour, 4 * number)


def _line(known: Mapping[str, Any], name: str, steps: Mapping[str, float], height: Any, colour: str, aside: int) -> Any:
    told = known["average_precision"]
    found = {step: told.get(f"{name} {step}") or told.get(f"{name.split()[0]} own inf") for step in steps}
    means = {step: mean_interval([*each.values()]) for step, each in found.items() if each}
    way = " ".join(f"{steps[step] + aside:.1f},{height(one.mean):.1f}" for step, one in means.items())
    yield f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for step, one in means.items():
        x, low, high = steps[step] + aside, max(one.low, 0.0), min(one.high, 0.8)
        yield f'<circle cx="{x:.1f}" cy="{height(one.mean):.1f}" r="3" fill="{colour}"/>'
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{height(low):.1f}" y2="{height(high):.1f}" stroke="{colour}"/>'


def table(known: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines of figures with their intervals."""
    for name, each in known["average_precision"].items():
        one = mean_interval([*each.values()])
        yield f"{name:20} {one.mean:.3f} ({one.low:.3f} to {one.high:.3f}, {one.n} seeds)"
    for name, each in known["attacks"].items():
        yield f"{name:20} " + ", ".join(f"{attack} {auc:.3f}" for attack, auc in each.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--attacks", action="store_true")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args(arguments)
    known = json.loads(given.out.read_text()) if given.out.exists() else {"average_precision": {}, "attacks": {}}
    if given.plot:
        given.plot.write_text(plot(known))
    else:
        for found in work(given, known):
            print(found, flush=True)
            given.out.write_text(json.dumps(known, indent=1))
    print("\n".join(table(known)))


if __name__ == "__main__":
    main()
