from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.trees import protocol_table, span, speed_table
from benchmarks.trees_grown import divided, grow
from benchmarks.trees_protocol import (
    FOLDS,
    VALIDATION,
    HeldOut,
    all_methods,
    apart,
    best_threshold,
    fitting_of,
    folds,
    protocol,
    thresholds_of,
)
from benchmarks.trees_rivals import library, rivals
from benchmarks.trees_speed import drawn_rows, measure, messages
from benchmarks.trees_tables import Task, compare, tasks
from werkbund.config.reading import load_config
from werkbund.federation.population import Division, divide
from werkbund.federation.tables import read_table
from werkbund.trees.arithmetic import TreePlan
from werkbund.trees.rows.table import TreeTable

SETTINGS = ["data.source=generator", "data.rows=900", "clients.count=3", "evaluation.keep_best=false"]
SETTINGS += ["federation.rounds=4", "trees.count=10"]
BOOSTING = TreePlan.boosting(3, max_depth=3)


@pytest.fixture(scope="module")
def division() -> Division:
    config = load_config(None, SETTINGS)
    return divide(read_table(config), config)


def shown(table: Table) -> list[str]:
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(table)
    return console.export_text().splitlines()


@pytest.mark.parametrize("held_out", ["rows", "tools"])
def test_a_repetition_judges_every_row_once_and_by_no_model_that_saw_it(held_out: HeldOut, division: Division) -> None:
    found = list(folds(division.table, 2, held_out))
    assert [seed for seed, _, _ in found] == [0] * FOLDS + [1] * FOLDS
    everybody = np.arange(len(division.table.frame))
    for _, train, test in found:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), everybody)
    for repetition in (found[:FOLDS], found[FOLDS:]):
        np.testing.assert_array_equal(np.sort(np.concatenate([test for _, _, test in repetition])), everybody)


def test_tools_are_held_out_as_a_whole(division: Division) -> None:
    tools = division.table.schema.machines(division.table.frame)
    for seed, train, test in folds(division.table, 2, "tools"):
        part, rest = apart(division.table, train, seed, "tools")
        owners = [set(tools[rows].tolist()) for rows in (part, rest, test)]
        assert sum(map(len, owners)) == len(set().union(*owners)) == len(np.unique(tools))


@pytest.mark.parametrize("held_out", ["rows", "tools"])
def test_a_threshold_is_chosen_on_a_part_of_the_training_rows(held_out: HeldOut, division: Division) -> None:
    _, train, _ = next(folds(division.table, 1, held_out))
    part, rest = apart(division.table, train, 0, held_out)
    np.testing.assert_array_equal(np.sort(np.concatenate([part, rest])), train)
    assert len(rest) == pytest.approx(VALIDATION * len(train), rel=0.35)


def test_a_plant_alone_chooses_its_threshold_on_its_own_rows() -> None:
    table = TreeTable.build(np.zeros((5, 1)), [0, 1, 0, 1, 0], [0, 2, 4, 5])
    scores = np.array([[0.1, 0.3, 0.9, 0.1, 0.9], [0.9, 0.1, 0.4, 0.8, 0.9], [0.5] * 5])
    assert thresholds_of(table, scores) == pytest.approx([0.2, 0.6, 0.5])
    assert thresholds_of(table, scores[:1]) == pytest.approx([best_threshold(table.targets, scores[0])])


def test_the_plants_of_a_fold_train_on_its_training_rows_alone(division: Division) -> None:
    _, train, test = next(folds(division.table, 1))
    fitting = fitting_of(division, train, test, SETTINGS, 0)
    own = {split: table.rows for split, table in fitting.population.splits.items()}
    np.testing.assert_array_equal(np.sort(own["train"]), train)
    np.testing.assert_array_equal(np.sort(own["test"]), test)
    assert not len(own["validation"])
    owners = division.partition.assignment[own["train"]]
    np.testing.assert_array_equal(np.bincount(owners), fitting.rows.train.sizes)
    labels = division.table.schema.labels(division.table.frame)
    np.testing.assert_array_equal(fitting.rows.test.targets, labels[own["test"]])


@pytest.mark.parametrize("title", [title for title in all_methods() if not title.startswith("pooled")])
def test_each_way_ranks_failures_before_other_rows(title: str, division: Division) -> None:
    _, train, test = next(folds(division.table, 1))
    fitting = fitting_of(division, train, test, SETTINGS, 0)
    scores, labels = all_methods()[title](fitting), fitting.rows.test.targets
    assert scores.shape == (3 if title.startswith("each plant alone") else 1, len(labels))
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[:, labels == 1].mean() > scores[:, labels == 0].mean()


def test_a_protocol_has_figures_of_every_fold_for_the_methods_that_are_wanted() -> None:
    titles = ["pooled scikit-learn HistGradientBoosting", "federated boosting"]
    found = protocol(1, True, titles, "tools", SETTINGS)
    assert (found["rows"], found["folds"], found["held_out"]) == (900, FOLDS, "tools")
    assert [*found["methods"]] == titles
    for one in found["methods"].values():
        assert all(one[name]["n"] == FOLDS for name in ("f1", "f1_chosen", "average_precision"))


def test_every_rival_that_is_installed_is_there() -> None:
    titles = [title for title in rivals() if "scikit-learn" not in title]
    assert titles == [title for title in ("LightGBM", "XGBoost") if library(title.lower())]
    assert library("no_such_library") is None


@pytest.mark.parametrize(
    ("labels", "scores", "right"),
    [([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.25), ([1, 1], [0.3, 0.4], 0.3), ([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], 0.15)],
)
def test_the_threshold_with_the_highest_f1_lies_between_scores(
    labels: list[int], scores: list[float], right: float
) -> None:
    assert best_threshold(np.array(labels, float), np.array(scores)) == pytest.approx(right)


@pytest.mark.parametrize(("f1", "marked"), [(0.92, False), (0.94, True)])
def test_what_no_honest_model_reaches_is_marked(f1: float, marked: bool) -> None:
    one = {"mean": f1, "low": f1 - 0.01, "high": f1 + 0.01, "n": 5}
    method = {"f1": one, "f1_chosen": one, "average_precision": one, "seconds": 10.0}
    result = {"rows": 9, "origin": "here", "folds": 5, "held_out": "rows", "methods": {"ours": method}}
    line = shown(protocol_table(result, "with"))[2].split()
    assert ("LEAK" in line) is marked
    assert line[-1] == "2.0"
    assert " ".join(line[-4:-1]) == f"{f1:.3f} ± 0.010"[-15:]


def test_one_value_has_no_interval() -> None:
    assert span({"mean": 0.25, "low": None, "high": None, "n": 1}) == "0.250"


def test_ten_clients_grow_the_trees_of_one_place() -> None:
    x, y = drawn_rows(600)
    here = grow(TreeTable.build(x, y), BOOSTING, "logistic")
    there = grow(divided(x, y, np.arange(600) % 10, 10), BOOSTING, "logistic")
    assert here.ensemble.digest == there.ensemble.digest
    assert len(there.records) == 3
    assert there.seconds == there.bins_s + there.trees_s > 0


def test_all_ways_are_timed_as_often() -> None:
    result = measure(rows=2000, trees=2, repetitions=2, threads=1)
    assert {len(own) for own in result["seconds"].values()} == {2}
    expected = result["medians"]["10 clients"] / result["medians"]["one place"]
    assert result["ratios"]["clients_to_one_place"] == pytest.approx(expected)
    (own,) = (line.split() for line in shown(speed_table(result)) if line.startswith("one place "))
    assert own[-1] == "1.00"


def test_a_level_is_a_question_and_trees_of_a_forest_share_it() -> None:
    found = messages("generator", 900)
    assert found["bagging"]["messages_a_tree"] == 1
    assert 1 < found["boosting"]["messages_a_tree"] <= 5
    assert found["forest"]["trees_a_round"] == 10
    assert 0.1 < found["forest"]["messages_a_tree"] <= 1.2
    assert found["bagging"]["up_a_tree"] < found["boosting"]["up_a_tree"]


@pytest.mark.parametrize("name", [*tasks(60)])
def test_a_difference_is_that_of_the_same_folds(name: str) -> None:
    whole = tasks(300)[name]
    task = Task(whole.features[:300], whole.targets[:300], whole.kind, whole.num_classes, whole.metric, whole.measure)
    found = compare(task, plan=TreePlan.boosting(1, max_depth=3))
    assert found["rows"] == 300
    assert found["difference"]["n"] == FOLDS
    expected = found["federated"]["mean"] - found["scikit_learn"]["mean"]
    assert found["difference"]["mean"] == pytest.approx(expected, abs=1e-12)
