"""A run's folder as a federation of ten plants would leave it, written from drawn scores.

The metrics are those of the drawn scores, by scikit-learn, so that plots, tables and sentences agree with each other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from werkbund.core.arrays import AnyArray
from werkbund.evaluation import (
    ClientPeriods,
    Contest,
    Costs,
    HeldOut,
    Showing,
    compare_periods,
    hold_contest,
    mean_contest,
)

Json = dict[str, Any]

NAMES = tuple(f"Plant {number}" for number in range(1, 11))
MODES = ("TWF", "HDF", "PWF", "OSF")
THRESHOLD = 0.12
COSTS = (20.0, 1.0)
STRENGTH = {
    "pooled_gbdt": 8.6,
    "pooled_forest": 8.1,
    "pooled": 7.4,
    "federated": 7.2,
    "local_mean": 4.0,
    "local_trees_mean": 4.4,
}
CONFIG = """[federation]
name = "ai4i-ten-plants"
rounds = 120
seed = 7

[clients]
partition = "tool-blocks"
count = 10

[model]
kind = "mlp"
hidden = [32, 16]

[training]
optimizer = "sgd"
learning_rate = 0.1
epochs = 1
batch_size = 32

[strategy.aggregation]
name = "fedavg"
server_momentum = 0.9

[evaluation]
missed_failure = 20.0
needless_inspection = 1.0
"""


def write_sample(
    folder: Path,
    *,
    strength: Mapping[str, float] = STRENGTH,
    rounds: int = 120,
    finished: bool = True,
    seeds: int = 0,
    names: tuple[str, ...] = NAMES,
) -> Path:
    """Write a run's folder; `strength` is how far each contender tells failures from healthy rows, in logits."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    sizes, owners, labels = _rows(rng, len(names))
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    _write(folder / "run.json", _about(names, sizes, owners, labels, rng))
    lines = [_round(number, rounds, len(names), rng) for number in range(1, rounds + 1)]
    if finished:
        lines.append({**lines[-1], "round": rounds + 1, "scored": rounds, "cohort": [], "failures": [], "loss": None})
        result = _result(strength, names, owners, labels, rng)
        written = {**result, "rounds": rounds, "best_round": max(1, rounds - 12), "later": _later(names)}
        _write(folder / "result.json", written)
        _write(folder / "model_card.json", _card())
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if seeds:
        contest = Contest.from_json(result["own_rows"]) if finished else None
        own_rows = mean_contest([contest] * seeds).to_json() if contest else None
        _write(folder / "comparison.json", {**_comparison(strength, seeds, rng), "own_rows": own_rows})
    return folder


def _later(names: tuple[str, ...]) -> Json:
    """Return the figures of a later period in which the model is about as good as before."""
    rng = np.random.default_rng(8)

    def figures(strength: float) -> Json:
        labels = rng.random(200) < 0.06
        labels[:2] = (True, False)
        area = metrics.roc_auc_score(labels, rng.normal(size=200) + strength * labels)
        return {"rows": 200, "positives": int(labels.sum()), "roc_auc": area, "cost": 60.0}

    periods = [ClientPeriods(name, figures(2.0), figures(2.0), figures(1.0), figures(1.0)) for name in names]
    return compare_periods(periods)


@pytest.fixture
def sample() -> Callable[..., Path]:
    return write_sample


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a finished run's folder; tests must not change it."""
    return write_sample(tmp_path_factory.mktemp("runs") / "finished")


def _write(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _rows(rng: np.random.Generator, clients: int) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Draw test rows: sizes (clients,), owners (rows,), labels (rows,); the last client has no failure."""
    sizes = rng.integers(150, 260, clients)
    owners = np.repeat(np.arange(clients), sizes)
    rates = np.where(np.arange(clients) == 4, 0.12, 0.025)
    labels = (rng.random(len(owners)) < rates[owners]) & (owners != clients - 1)
    return sizes, owners, labels


def _about(
    names: tuple[str, ...], sizes: AnyArray, owners: AnyArray, labels: AnyArray, rng: np.random.Generator
) -> Json:
    positives = np.bincount(owners, labels, len(names))
    clients = []
    for number, name in enumerate(names):
        shares = rng.dirichlet([0.4, 5.0 if number == 4 else 0.2, 1.0, 1.0])
        modes = dict(zip(MODES, rng.multinomial(int(positives[number] * 5), shares).tolist(), strict=True))
        rows, failures = int(sizes[number] * 5), int(positives[number] * 5)
        far = {"label_distance": abs(failures / rows - 0.034), "feature_distance": float(rng.uniform(0.05, 0.3))}
        clients.append({"name": name, "rows": rows, "positives": failures, "modes": modes, **far})
    measures = {
        "label_measure": "total variation distance of the label's distribution from that of all rows",
        "feature_measure": "Kolmogorov-Smirnov distance from all rows, mean over features",
    }
    return {
        "name": "ai4i-ten-plants",
        "created": "2031-05-04T10:12:33+00:00",
        "werkbund": "0.1.0",
        "python": "3.12.4",
        "torch": "2.13.0",
        "seed": 7,
        "data": {
            "source": "ai4i2020",
            "path": "data/ai4i2020.csv",
            "sha256": "dc6630cd9b1f0f853922fad78a1b6436570d3f1ec863f1dd5c4340ac56bc8a8e",
            "generated": None,
            "note": "The AI4I 2020 file as published: one milling machine, cut into plants by whole tools.",
            "rows": sum(client["rows"] for client in clients),
            "positives": sum(client["positives"] for client in clients),
        },
        "clients": list(names),
        "skew": {"kind": "tool-blocks", **measures, "clients": clients},
        "command": "werkbund run --data data/ai4i2020.csv --seed 7",
        "layout": {"fingerprint": "5f0c6f7ab2d14e90", "parameters": 865},
        "features": ["Air temperature [K]", "Torque [Nm]", "power", "overstrain", "Type = L", "Type = M", "Type = H"],
        "findings": _findings(),
        "machine": {"cpus": 2, "memory_gb": 8},
        "server_sees": {"sums": [], "each": ["weights after training minus weights before", "number of training rows"]},
        "citations": [
            {
                "what": "Federated averaging",
                "source": "McMahan, Moore, Ramage, Hampson, Agüera y Arcas, AISTATS 2017, algorithm 1",
            },
            {"what": "Server momentum", "source": "Hsu, Qi, Brown, arXiv:1909.06335, 2019"},
            {"what": "AI4I 2020 data", "source": "Matzka, AI4I 2020, pp. 69-74, doi 10.1109/AI4I49448.2020.00023"},
        ],
    }


def _findings() -> list[Json]:
    return [
        {
            "level": "note",
            "column": "Process temperature [K]",
            "rule": "drift",
            "message": "Rows in time order drift slowly; hold out whole tools.",
            "rows": 0,
        },
        {
            "level": "warning",
            "column": "Machine failure",
            "rule": "few positives",
            "message": "Plant 10 has no failure among its test rows.",
            "rows": 204,
        },
    ]


def _round(number: int, rounds: int, clients: int, rng: np.random.Generator) -> Json:
    progress = 1 - math.exp(-4 * number / max(rounds, 60))
    cohort = sorted(rng.choice(clients, max(1, clients * 7 // 10), replace=False).tolist())
    lost = number in (31, 32, 77) and clients > 6
    validation, test = (float(np.clip(0.84 * progress + rng.normal(0, 0.012), 0, 1)) for _ in range(2))
    failures = [{"client": cohort[-1], "reason": "no answer within 60 s"}] if lost else []
    return {
        "round": number,
        "scored": number - 1,
        "cohort": cohort,
        "failures": failures,
        "loss": 0.09 + 0.6 * math.exp(-5 * number / max(rounds, 60)) + abs(float(rng.normal(0, 0.006))),
        "update_norm": 0.15 + 1.6 * math.exp(-4 * number / max(rounds, 60)) + abs(float(rng.normal(0, 0.04))),
        "weights_norm": 4 + 3 * progress,
        "bytes_down": 3460 * len(cohort),
        "bytes_up": 19_800 * len(cohort),
        "seconds": 0.14,
        "metrics": {"validation": {"average_precision": validation}, "test": {"average_precision": test}},
        "reasons": ["drawn at random"] * len(cohort),
    }


def _scored(labels: AnyArray, logits: AnyArray, modes: AnyArray | None = None) -> Json:
    """Return the metrics of these scores by scikit-learn, with None where they have no meaning."""
    positives, alarms = int(labels.sum()), logits >= math.log(THRESHOLD / (1 - THRESHOLD))
    both = 0 < positives < len(labels)
    hits, missed = int((labels & alarms).sum()), int((labels & ~alarms).sum())
    cost = (COSTS[0] * missed + COSTS[1] * int((alarms & ~labels).sum())) * 1000 / len(labels)
    by_mode = {} if modes is None else {m: float(alarms[labels & (modes == k)].mean()) for k, m in enumerate(MODES)}
    return {
        "rows": len(labels),
        "positives": positives,
        "average_precision": float(metrics.average_precision_score(labels, logits)) if positives else None,
        "roc_auc": float(metrics.roc_auc_score(labels, logits)) if both else None,
        "f1": float(metrics.f1_score(labels, alarms)) if positives else None,
        "precision": hits / int(alarms.sum()) if alarms.any() else None,
        "recall": hits / positives if positives else None,
        "threshold": THRESHOLD,
        "cost": cost,
        "recall_by_mode": by_mode,
    }


def _result(
    strength: Mapping[str, float], names: tuple[str, ...], owners: AnyArray, labels: AnyArray, rng: np.random.Generator
) -> Json:
    modes = rng.integers(0, len(MODES), len(labels))
    noise = rng.normal(0, 2.0, len(labels))
    logits = {who: -5.5 + noise + power * labels for who, power in strength.items()}
    clients = []
    for number, name in enumerate(names):
        rows = owners == number
        local = _scored(labels[rows], logits["local_mean"][rows]) if "local_mean" in logits else None
        clients.append({"name": name, **_scored(labels[rows], logits["federated"][rows]), "local": local})
    edges = np.arange(1024) / 32 - 16
    contest = _contest(names, owners, labels, logits) if "local_mean" in logits else None
    return {
        "own_rows": contest.to_json() if contest else None,
        "stopped": "all rounds were run",
        "seconds": 41.7,
        "threshold": THRESHOLD,
        "metrics": {who: _scored(labels, scores, modes) for who, scores in logits.items()},
        "per_client": clients,
        "curve": {"test": _curve(labels, logits["federated"])},
        "cost_curve": {
            "threshold": (1 / (1 + np.exp(-edges))).tolist(),
            **{who: _cost_curve(labels, scores, edges) for who, scores in logits.items()},
        },
    }


def _contest(names: tuple[str, ...], owners: AnyArray, labels: AnyArray, logits: Mapping[str, AnyArray]) -> Contest:
    """Judge all contenders on each plant's rows, twelve machines a plant."""
    rows = [np.flatnonzero(owners == number) for number in range(len(names))]
    plants = [
        HeldOut(name, labels[own].astype(float), np.arange(len(own)) * 12 // len(own))
        for name, own in zip(names, rows, strict=True)
    ]
    at = math.log(THRESHOLD / (1 - THRESHOLD))
    shown = {who: [Showing(scores[own] >= at, scores[own]) for own in rows] for who, scores in logits.items()}
    nothing = {"nothing": [Showing(np.zeros(len(own), bool)) for own in rows]}
    rngs = [np.random.default_rng(number) for number in range(len(names))]
    return hold_contest(plants, {**shown, **nothing}, Costs(*COSTS), rngs)


def _curve(labels: AnyArray, logits: AnyArray) -> Json:
    bins = np.clip(np.floor((logits + 16) * 32), 0, 1023).astype(int)
    histogram = [np.bincount(bins[labels == wanted], minlength=1024).tolist() for wanted in (False, True)]
    probability = 1 / (1 + np.exp(-logits))
    deciles = np.minimum((probability * 10).astype(int), 9)
    sums = [np.bincount(deciles, weights, 10) for weights in (np.ones(len(labels)), probability, labels)]
    return {"histogram": histogram, "calibration": np.stack(sums, axis=1).tolist()}


def _cost_curve(labels: AnyArray, logits: AnyArray, edges: AnyArray) -> list[float]:
    missed = np.searchsorted(np.sort(logits[labels]), edges)
    needless = (~labels).sum() - np.searchsorted(np.sort(logits[~labels]), edges)
    return ((COSTS[0] * missed + COSTS[1] * needless) * 1000 / len(labels)).tolist()  # type: ignore[no-any-return]


def _card() -> Json:
    return {
        "name": "ai4i-ten-plants",
        "purpose": "Probability of 'Machine failure' for one row of machine readings.",
        "model": {"kind": "mlp", "options": {"hidden": [32, 16]}, "parameters": 865, "fingerprint": "5f0c6f7ab2d14e90"},
        "inputs": [
            {"name": "Torque [Nm]", "type": "number", "unit": "Nm", "mean": 39.99, "standard_deviation": 9.97},
            {"name": "Type", "type": "category", "levels": ["H", "L", "M"]},
        ],
        "outputs": {"probability": "float64 in [0, 1]", "decision": "true if the probability is at least 0.12"},
        "threshold_probability": THRESHOLD,
        "costs": {"missed_failure": 20.0, "needless_inspection": 1.0},
        "metrics": {"federated": {"average_precision": 0.9}},
        "limits": ["Feed raw values in the units listed.", "The threshold follows the costs; choose it anew."],
    }


def _comparison(strength: Mapping[str, float], seeds: int, rng: np.random.Generator) -> Json:
    """Return mean, interval and single values for every contender; stronger contenders score higher."""
    rows = []
    drawn: dict[str, AnyArray] = {}
    for who, power in strength.items():
        for metric in ("average_precision", "f1", "roc_auc", "cost"):
            middle = 200 / power if metric == "cost" else 1 - math.exp(-power / 4)
            values = middle + rng.normal(0, 0.01 * middle, seeds)
            rows.append({"who": who, "metric": metric, **_interval(values)})
            drawn.setdefault(who, values)
    for who in set(drawn) - {"federated"}:
        difference = _interval(drawn["federated"] - drawn[who])
        rows.append({"who": f"federated minus {who}", "metric": "average_precision", **difference})
    return {"seeds": list(range(seeds)), "rows": rows}


def _interval(values: AnyArray) -> Json:
    mean, half = float(values.mean()), 2 * float(values.std()) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": values.tolist()}
