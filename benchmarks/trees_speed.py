"""How long boosting takes: rows in one place beside LightGBM, ten clients beside one; and what travels for a tree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.trees_grown import divided, grow
from benchmarks.trees_rivals import library
from werkbund.config.reading import load_config
from werkbund.core.arrays import Float64Array
from werkbund.federation.families.trees import TreeSimulation, simulate_trees
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.trees.arithmetic import TreePlan
from werkbund.trees.protocol.rounds import bagging_rounds, tree_rounds
from werkbund.trees.rows.table import TreeTable

FEATURES, CLIENTS = 20, 10
DEPTH, LEAST_ROWS, RATE, BINS = 6, 20, 0.1, 255


def drawn_rows(n: int, seed: int = 0) -> tuple[Float64Array, Float64Array]:
    """Return rows of numbers, and classes that follow a few of them through steps, products and chance."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, FEATURES))
    score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + (x[:, 3] > 0.5) + 0.5 * x[:, 4]
    return x, (score + rng.logistic(size=n) > 1.0).astype(np.float64)


def measure(rows: int, trees: int, repetitions: int, threads: int) -> dict[str, Any]:
    """Return the seconds of each way, bins included, every way in turn, repetition after repetition.

    Parameters
    ----------
    rows, trees
        Of the work.
    repetitions
        After one run of each on few rows, which compiles.
    threads
        For LightGBM; our own are as many as this process may use.
    """
    x, y = drawn_rows(rows)
    ways: dict[str, Callable[[Float64Array, Float64Array], float]] = {
        "one place": lambda x, y: _own(x, y, 1, trees),
        f"{CLIENTS} clients": lambda x, y: _own(x, y, CLIENTS, trees),
    }
    if library("lightgbm"):
        ways["LightGBM"] = lambda x, y: _lightgbm(x, y, trees, threads)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(x[:1000], y[:1000])
    for _ in range(repetitions):
        for name, way in ways.items():
            seconds[name].append(way(x, y))
    medians = {name: statistics.median(own) for name, own in seconds.items()}
    own = medians["one place"]
    ratios = {"clients_to_one_place": medians[f"{CLIENTS} clients"] / own}
    if "LightGBM" in medians:
        ratios["one_place_to_lightgbm"] = own / medians["LightGBM"]
    return {"rows": rows, "trees": trees, "threads": threads, "seconds": seconds, "medians": medians, "ratios": ratios}


def messages(source: str = "ai4i2020", rows: int = 10_000) -> dict[str, Any]:
    """Return questions a client is asked and bytes it gets and sends, for each tree of the built-in federation."""
    found = {}
    for title, kind, rounds in (("boosting", "trees", 20), ("forest", "forest", 3), ("extra trees", "extra-trees", 3)):
        settings = [f"data.source={source}", f"data.rows={rows}", f"model.kind={kind}"]
        config = load_config(None, settings)
        # What a client sends has the same form whatever rows it has: one that has all of them stands for any.
        setup = simulate_trees(config, divide(read_table(config), config).population).alone(None)
        found[title] = _travelled(setup, tree_rounds, rounds)
        if kind == "trees":
            found["bagging"] = _travelled(setup, bagging_rounds, rounds)
    return found


def _travelled(setup: TreeSimulation, way: Callable[..., Any], rounds: int) -> dict[str, float]:
    doing = way(setup.grid, setup.plan, setup.rules, setup.begin().state, rounds, None, False)
    records = [record for _, record in islice(doing, rounds)][1:]  # the first also tells the terms
    trees = len(records) * setup.plan.together
    return {
        "trees_a_round": setup.plan.together,
        "messages_a_tree": sum(one.messages for one in records) / trees,
        "down_a_tree": sum(one.round.bytes_down for one in records) / trees,
        "up_a_tree": sum(one.round.bytes_up for one in records) / trees,
    }


def _own(x: Float64Array, y: Float64Array, clients: int, trees: int) -> float:
    plan = TreePlan.boosting(trees, learning_rate=RATE, max_depth=DEPTH, min_child_rows=LEAST_ROWS, l2=0.0)
    owner = np.arange(len(y)) * clients // len(y)
    table = TreeTable.build(x, y) if clients == 1 else divided(x, y, owner, clients)
    return grow(table, plan, "logistic").seconds


def _lightgbm(x: Float64Array, y: Float64Array, trees: int, threads: int) -> float:
    lightgbm = library("lightgbm")
    options = {
        "objective": "binary",
        "num_leaves": 2**DEPTH,
        "max_depth": DEPTH,
        "max_bin": BINS,
        "learning_rate": RATE,
        "min_data_in_leaf": LEAST_ROWS,
        "num_threads": threads,
        "verbose": -1,
    }
    began = time.perf_counter()
    lightgbm.train(options, lightgbm.Dataset(x, y, params={"max_bin": BINS, "verbose": -1}), trees)
    return time.perf_counter() - began
