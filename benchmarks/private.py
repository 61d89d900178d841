"""What a promise of privacy costs in average precision on AI4I: plants that noise rows or machines by themselves.

    python -m benchmarks.private [--seeds 1] [--rounds 20]

The built-in federation of ten plants, whole tools held out, one model over the test rows of all plants. `none` clips
as the others do and adds no noise; `unclipped` is the same training without a unit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from werkbund.config import check_config
from werkbund.federation import run

CLIPS = {"row": 1.0, "machine": 5.0}
TARGETS: dict[str, tuple[float | None, ...]] = {"row": (1.0, 2.0, 4.0, 8.0, None), "machine": (8.0, None)}


def average_precision(unit: str, target: float | None, seed: int, rounds: int) -> float:
    """Return the average precision on all plants' test rows of one run; `unit` none promises nothing."""
    noise = {"target_epsilon": target} if target is not None else {"noise_multiplier": 0.0}
    privacy: dict[str, Any] = {} if unit == "none" else {"unit": unit, "clip": CLIPS[unit], **noise}
    config = check_config(
        {
            "federation": {"rounds": rounds, "seed": seed},
            "training": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 64},
            "strategy": {"aggregation": {"momentum": 0.0}},
            "evaluation": {"keep_best": False},
            "privacy": privacy,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        run(config, out=Path(folder) / "run", compare=False)
        result = json.loads((Path(folder) / "run" / "result.json").read_text())
    return float(result["metrics"]["federated"]["average_precision"])


def main() -> None:
    """Print a row a promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    cases = [("none", None), *((unit, target) for unit, targets in TARGETS.items() for target in targets)]
    for unit, target in cases:
        reached = [average_precision(unit, target, seed, given.rounds) for seed in range(given.seeds)]
        told = " ".join(f"{value:.3f}" for value in reached)
        print(f"{unit:8} {'none' if target is None else f'{target:g}':>5} {told}", flush=True)


if __name__ == "__main__":
    main()
