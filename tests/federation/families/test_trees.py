"""`model.kind` alone makes a run one of trees: the same folder, the same model in it as of all rows in one place."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from werkbund.bench.job import bench
from werkbund.bench.plan import Plan
from werkbund.config import Config
from werkbund.config.reading import load_config
from werkbund.core.clients import ClientSplits
from werkbund.core.edges import STANDARD_EDGES
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.data import Preparation, generate
from werkbund.evaluation import POSSIBLE_ERROR, RoundNews
from werkbund.federation import Run, resume, run
from werkbund.federation.families.trees import TreeSimulation, simulate_prepared_trees, simulate_trees, trees_in
from werkbund.federation.folder import Folder
from werkbund.federation.population import divide
from werkbund.federation.preparing import learn_in_process
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.model import load_model, score_onnx
from werkbund.model.trees import TreeModel
from werkbund.partition.population import Population
from werkbund.trees.protocol.rounds import bagging_rounds
from werkbund.trees.protocol.talk import Links
from werkbund.trees.rows.local import train_trees

Small = Callable[..., Config]
BAGGED = {"combine": "bagging"}
KINDS = ("trees", "forest", "extra-trees")
TREES = {"count": 12, "together": 4, "max_depth": 4}


class StopAt:
    """Interrupt a run when it tells of a round, as a user would by Ctrl-C."""

    def __init__(self, round: int) -> None:
        self.last = round

    def stage(self, what: str) -> None:
        """Hear nothing."""

    def round(self, news: RoundNews) -> None:
        """Stop at the round."""
        if news.record.round == self.last:
            raise KeyboardInterrupt


LEAST_BYTES = 100 + STANDARD_EDGES.nbytes
"""A mark, two numbers, and the edges on which scores are counted."""


def grown(small: Small, kind: str = "trees", **sections: dict[str, Any]) -> Config:
    trees = {**TREES, **sections.pop("trees", {})}
    return small(model={"kind": kind, "hidden": None}, trees=trees, **sections)


def parts(config: Config) -> TreeSimulation:
    return simulate_trees(config, divide(read_table(config), config).population)


def digest(folder: Path) -> str:
    model = load_model(folder / "model")
    assert isinstance(model, TreeModel)
    return model.ensemble.digest


SETTINGS = ["data.source=generator", "data.rows=1500", "clients.count=3", "federation.rounds=8", "trees.count=12"]
SETTINGS += ["trees.together=4", "trees.max_depth=4"]


@pytest.fixture(scope="module", params=KINDS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = load_config(None, [*SETTINGS, f"model.kind={request.param}"])
    return run(config, out=tmp_path_factory.mktemp(request.param) / "run", compare=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", ["none", "balanced", 3.0])
def test_federated_trees_are_those_of_all_rows_in_one_place(small: Small, kind: str, weight: str | float) -> None:
    setup = parts(grown(small, kind, trees={"positive_weight": weight, "row_share": 0.8}))
    here, pooled = train(setup), train(setup.alone(None))
    assert trees_in(here.learnt).digest == trees_in(pooled.learnt).digest
    assert here.kept_round == pooled.kept_round
    assert here.threshold == pooled.threshold


def test_the_loop_grows_what_one_party_would(small: Small) -> None:
    setup = parts(grown(small, evaluation={"keep_best": False}))
    *_, last = train_trees(setup.rows.of_client(None).train, setup.terms, setup.plan, setup.config.federation.seed)
    assert trees_in(train(setup).learnt).digest == last.digest


def test_a_client_alone_learns_from_its_own_rows(small: Small) -> None:
    setup = parts(grown(small))
    own = setup.alone(1)
    assert own.terms.digest() != setup.terms.digest()
    everyone = len(setup.splits.test.labels)
    assert setup.logits(train(own).learnt).shape == (everyone,)


def test_the_best_number_of_trees_on_validation_rows_is_kept(small: Small) -> None:
    section = {"learning_rate": 1.0, "min_child_rows": 1}
    config = grown(small, federation={"rounds": 25, "patience": 3}, trees=section, data={"rows": 6000})
    kept = train(parts(config))
    assert kept.stopped.startswith("no better validation")
    assert len(trees_in(kept.learnt).trees) == kept.kept_round < kept.num_rounds


def test_a_forest_keeps_all_its_trees(small: Small) -> None:
    kept = train(parts(grown(small, "forest")))
    assert kept.kept_round == kept.num_rounds == 3
    assert len(trees_in(kept.learnt).trees) == 12


def test_a_folder_has_all_that_a_run_leaves(finished: Run) -> None:
    expected = {"config.toml", "run.json", "rounds.jsonl", "result.json", "checkpoint.npz", "report.html"}
    expected |= {"model", "model.onnx", "reference.json", "model_card.json", "model_card.md"}
    assert expected <= {path.name for path in finished.folder.iterdir()}


def test_contenders_are_compared_and_federating_loses_nothing(tmp_path: Path) -> None:
    metrics = run(load_config(None, [*SETTINGS, "model.kind=trees"]), out=tmp_path / "run").summary["metrics"]
    assert list(metrics) == ["federated", "local_mean", "local_trees_mean", "pooled", "pooled_gbdt", "pooled_forest"]
    pooled = metrics["pooled"]
    for name, value in metrics["federated"].items():
        same = value == pooled[name] or value == pytest.approx(pooled[name], abs=POSSIBLE_ERROR)
        assert same, name  # the same trees, whose scores are counted on other edges
    assert metrics["federated"]["average_precision"] > metrics["federated"]["positives"] / metrics["federated"]["rows"]


def test_the_onnx_file_decides_as_the_model_does(finished: Run) -> None:
    frame = generate(rows=500, plants=3, seed=11)
    probability, decision = score_onnx((finished.folder / "model.onnx").read_bytes(), frame)
    np.testing.assert_allclose(probability, finished.model.score(frame), atol=1e-12)
    np.testing.assert_array_equal(decision, finished.model.decide(frame))


def test_the_card_says_what_the_trees_look_at(finished: Run) -> None:
    card = json.loads((finished.folder / "model_card.json").read_text())
    assert card["model"]["parameters"] == finished.summary["parameters"] > 0
    assert sum(card["model"]["importance"].values()) == pytest.approx(1.0, abs=0.01)
    assert card["training"]["aggregation"] == "exact sums of histograms"
    assert finished.summary["limits"] == []


def test_round_lines_score_the_trees_before_the_round(finished: Run) -> None:
    lines = [json.loads(line) for line in (finished.folder / "rounds.jsonl").read_text().splitlines()]
    rounds = finished.summary["rounds"]
    assert [line["scored"] for line in lines] == list(range(rounds + 1))
    assert lines[-1]["cohort"] == []


@pytest.mark.parametrize("kind", ["trees", "forest"])
@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize(("every", "combine"), [(1, "exact"), (2, "exact"), (2, "bagging")])
def test_a_resumed_run_ends_with_the_same_bits(
    small: Small, tmp_path: Path, kind: str, stop: int, every: int, combine: str
) -> None:
    trees = {"count": 16, "row_share": 0.9, "combine": combine}
    config = grown(small, kind, federation={"checkpoint_every": every}, trees=trees)
    whole = run(config, out=tmp_path / "whole", compare=False)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "cut", compare=False, watcher=StopAt(stop))
    resumed = resume(tmp_path / "cut")
    assert digest(resumed.folder) == digest(whole.folder)
    written = [(done.folder / "rounds.jsonl").read_text().splitlines() for done in (whole, resumed)]
    scores = [[json.loads(line)["metrics"] for line in lines] for lines in written]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("trees", [{"max_depth": 3}, BAGGED])
def test_a_run_whose_trees_would_grow_otherwise_is_not_resumed(
    small: Small, tmp_path: Path, trees: dict[str, Any]
) -> None:
    done = run(grown(small), out=tmp_path / "run", compare=False)
    Folder(done.folder).write_config(grown(small, trees=trees))
    with pytest.raises(CheckpointError, match=r"config\.toml was edited after the run began: trees\..* was .* and is"):
        resume(done.folder)


def test_a_run_of_trees_can_be_continued_for_longer(small: Small, tmp_path: Path) -> None:
    short = run(grown(small, federation={"rounds": 4}), out=tmp_path / "run", compare=False)
    Folder(short.folder).write_config(grown(small, federation={"rounds": 7}))
    long = run(grown(small, federation={"rounds": 7}), out=tmp_path / "long", compare=False)
    assert digest(resume(short.folder).folder) == digest(long.folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_can_unite_trees_that_each_client_grows_alone(small: Small, tmp_path: Path, kind: str) -> None:
    config = grown(small, kind, trees=BAGGED, evaluation={"keep_best": False})
    done, setup = run(config, out=tmp_path / "run", compare=False), parts(config)
    *_, (state, record) = bagging_rounds(setup.grid, setup.plan, setup.rules, setup.begin().state, setup.num_rounds)
    assert digest(done.folder) == state.ensemble.digest
    assert len(state.ensemble.trees) == len(setup.grid.clients()) * (12 if setup.plan.forest else 4)
    assert record.messages == 1
    frame = generate(rows=300, plants=3, seed=11)
    probability, _ = score_onnx((done.folder / "model.onnx").read_bytes(), frame)
    np.testing.assert_allclose(probability, done.model.score(frame), atol=1e-12)


def test_a_run_of_united_trees_says_what_they_are(small: Small, tmp_path: Path) -> None:
    done = run(grown(small, trees=BAGGED), out=tmp_path / "run", compare=False)
    (limit,) = done.summary["limits"]
    assert "not the trees of the pooled rows" in limit
    card = json.loads((done.folder / "model_card.json").read_text())
    assert card["training"]["aggregation"] == "each client's own trees, united by share of rows"
    assert limit in card["limits"]
    assert limit in html.unescape(done.report.read_text())
    cited = [citation["what"] for citation in json.loads((done.folder / "run.json").read_text())["citations"]]
    assert "Clients' own trees, united" in cited


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("least", [0, 1])
def test_without_a_least_number_of_rows_the_trees_are_the_exact_ones(small: Small, kind: str, least: int) -> None:
    setup = parts(grown(small, kind, trees={"min_cell_rows": least}))
    usual = parts(grown(small, kind))
    assert setup.rules.fingerprint == usual.rules.fingerprint
    assert trees_in(train(setup).learnt).digest == trees_in(train(usual).learnt).digest


def test_a_run_that_withholds_small_cells_says_so(small: Small, tmp_path: Path) -> None:
    done = run(grown(small, trees={"min_cell_rows": 4}), out=tmp_path / "run")
    (limit,) = done.summary["limits"]
    assert "fewer than 4 rows" in limit
    assert "not exactly the trees of the pooled rows" in limit
    card = json.loads((done.folder / "model_card.json").read_text())
    assert card["training"]["aggregation"] == "sums of histograms without a client's cells of fewer than 4 rows"
    assert limit in card["limits"]
    exact = parts(grown(small))
    assert digest(done.folder) != trees_in(train(exact).learnt).digest
    assert done.summary["metrics"]["federated"] != done.summary["metrics"]["pooled"]


def test_withheld_counts_leave_bins_to_every_feature(small: Small) -> None:
    setup = parts(grown(small, trees={"min_cell_rows": 5}))
    numbers = setup.terms.edges.levels == 0
    assert (setup.terms.edges.sizes[numbers] > 16).all()


def test_who_is_alone_withholds_nothing_from_itself(small: Small) -> None:
    setup, exact = parts(grown(small, trees={"min_cell_rows": 4})), parts(grown(small))
    for client in (None, 1):
        assert trees_in(train(setup.alone(client)).learnt).digest == trees_in(train(exact.alone(client)).learnt).digest


def test_a_run_that_withholds_more_is_not_resumed(small: Small, tmp_path: Path) -> None:
    done = run(grown(small), out=tmp_path / "run", compare=False)
    Folder(done.folder).write_config(grown(small, trees={"min_cell_rows": 4}))
    with pytest.raises(CheckpointError, match=r"config\.toml was edited after the run began: trees\..* was .* and is"):
        resume(done.folder)


def test_rows_are_prepared_for_networks_only_when_a_baseline_needs_them(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    usual = Population.prepared

    def counted(population: Population, preparation: Preparation) -> ClientSplits:
        asked.append(1)
        return usual(population, preparation)

    monkeypatch.setattr(Population, "prepared", counted)
    setup = parts(grown(small))
    train(setup)
    train(setup.alone(None))
    assert not asked
    assert setup.splits.train.names == setup.grid.clients()
    assert setup.alone(None).splits.test.num_clients == 1
    assert setup.alone(2).splits.test.names == setup.alone(2).grid.clients() == setup.grid.clients()[2:]
    assert len(asked) == 1


def test_clients_agree_on_bins_only_when_the_server_begins(small: Small) -> None:
    config = grown(small)
    population = divide(read_table(config), config).population
    setup = simulate_prepared_trees(config, population, learn_in_process(config, population).preparation)
    assert setup.work().handlers()
    assert setup.splits.train.names == population.names
    assert "grid" not in vars(setup)  # nobody was reached
    assert setup.begin().round == 0
    assert "grid" in vars(setup)
    assert setup.terms.digest() == parts(config).terms.digest()


@pytest.mark.parametrize("trees", [{}, BAGGED])
def test_at_the_end_nobody_is_sent_the_trees_that_it_has(small: Small, trees: dict[str, Any]) -> None:
    setup = parts(grown(small, trees=trees))
    *_, (stage, _) = setup.begin().rounds()
    first, second = stage.evaluate(), stage.evaluate(np.arange(len(setup.names)))
    anew = replace(stage, links=Links()).evaluate()
    assert second.bytes_down < LEAST_BYTES * len(setup.names)
    assert second.bytes_down < first.bytes_down < anew.bytes_down / 2
    np.testing.assert_equal(first.counts, anew.counts)


@pytest.mark.parametrize("trees", [{}, BAGGED])
def test_earlier_trees_are_sent_once_and_counted_as_they_are(small: Small, trees: dict[str, Any]) -> None:
    setup = parts(grown(small, trees=trees))
    *_, (stage, _) = setup.begin().rounds()
    earlier = stage.at(2, None)
    first, second = earlier.evaluate(), earlier.evaluate()
    anew = replace(earlier, links=Links()).evaluate()
    assert second.bytes_down < LEAST_BYTES * len(setup.names) < first.bytes_down == anew.bytes_down
    np.testing.assert_equal(first.counts, anew.counts)
    np.testing.assert_equal(second.counts, anew.counts)


def test_united_trees_of_one_client_are_the_exact_ones(small: Small) -> None:
    united, exact = parts(grown(small, trees=BAGGED)), parts(grown(small))
    assert trees_in(train(united.alone(None)).learnt).digest == trees_in(train(exact.alone(None)).learnt).digest
    assert trees_in(train(united).learnt).digest != trees_in(train(exact).learnt).digest


def test_a_run_of_networks_compiles_nothing_that_trees_need() -> None:
    code = (
        "import sys, werkbund.federation, werkbund.cli\n"
        "modules = [module for name, module in sys.modules.items() if name.startswith('werkbund.trees')]\n"
        "values = [value for module in modules for value in vars(module).values()]\n"
        "print(sum(len(getattr(value, 'signatures', ())) for value in values))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "0"


def test_a_bench_of_selectors_takes_networks(small: Small, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a network, such as mlp, for a bench of selectors, got 'trees'"):
        bench(Plan(grown(small), ("uniform",), ("natural",), (0, 1), 2), out=tmp_path / "bench")
    assert not (tmp_path / "bench").exists()


def test_the_risk_only_rises_with_a_monotone_feature(small: Small) -> None:
    config = grown(small, trees={"monotone": {"Torque [Nm]": 1}}, features={"preset": False})
    setup = parts(config)
    model = setup.model(train(setup).learnt, 0.5, "Machine failure")
    frame = generate(rows=50, plants=3, seed=2)
    scores = [model.score(frame.with_columns(pl.lit(torque).alias("Torque [Nm]"))) for torque in np.linspace(5, 75, 15)]
    assert (np.diff(scores, axis=0) >= 0).all()
    assert np.ptp(scores, axis=0).max() > 0


@pytest.mark.parametrize("combine", ["exact", "bagging"])
def test_some_clients_drawn_for_each_round_grow_its_trees_and_all_count_them(
    small: Small, tmp_path: Path, combine: str
) -> None:
    uniform = {"selection": {"name": "uniform", "count": 2}}
    config = grown(small, federation={"rounds": 4}, strategy=uniform, trees={"combine": combine})
    done = run(config, out=tmp_path / "some", compare=True)
    lines = [json.loads(line) for line in (done.folder / "rounds.jsonl").read_text().splitlines()]
    cohorts = [tuple(line["cohort"]) for line in lines[:4]]
    assert [len(cohort) for cohort in cohorts] == [2] * 4
    assert len(set(cohorts)) > 1
    judged = {line["metrics"]["validation"]["rows"] for line in lines}
    assert len(judged) == 1, "all clients count in each round, asked or not"
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "cut", compare=False, watcher=StopAt(3))
    assert digest(resume(tmp_path / "cut").folder) == digest(done.folder)


def test_to_draw_all_clients_is_to_ask_all(small: Small, tmp_path: Path) -> None:
    digests = {
        digest(
            run(grown(small, federation={"rounds": 2}, strategy={"selection": chosen}), out=out, compare=False).folder
        )
        for chosen, out in (({"name": "all"}, tmp_path / "all"), ({"name": "uniform"}, tmp_path / "uniform"))
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"kind": "trees", "hidden": [8]}}, r"model\.hidden is no option of model\.kind = 'trees'"),
        ({"strategy": {"selection": {"name": "md", "fraction": 0.5}}}, r"selection\.name must be all or uniform"),
        ({"world": {"preset": "uniform"}}, r"drop \[world\]"),
        ({"model": {"kind": "forest", "hidden": None}, "trees": {"learning_rate": 0.1}}, "forests have none"),
        ({"trees": {"monotone": {"nothing": 1}}}, "must name number features, got 'nothing'"),
        ({"model": {"kind": "trees", "hidden": None, "initial": "client"}}, r"model\.initial is for networks"),
    ],
)
def test_what_does_not_fit_trees_is_refused(small: Small, sections: dict[str, Any], message: str) -> None:
    model = sections.get("model", {"kind": "trees", "hidden": None})
    with pytest.raises(ConfigError, match=message):
        parts(small(**{**sections, "model": model}))
