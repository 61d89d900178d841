"""A run with attackers says so first, is judged by honest plants, goes on to the same bits, and stays in process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from werkbund.config import Config, changed, check_config
from werkbund.core.errors import ConfigError
from werkbund.engine import Checkpoint, load_checkpoint, save_checkpoint
from werkbund.federation import resume, run
from werkbund.federation.attacked import refuse_attack, under_attack
from werkbund.federation.families.family import family_of
from werkbund.federation.families.networks import simulate_network
from werkbund.federation.folder import Folder
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.report import attack_sentence, read_run

SMALL: dict[str, Any] = {
    "federation": {"rounds": 4, "seed": 3},
    "data": {"source": "generator", "rows": 1000, "plants": 5},
    "clients": {"count": 5},
    "model": {"hidden": [8]},
}


def _config(kind: str, **keys: Any) -> Config:
    return check_config({**SMALL, "attack": {"kind": kind, "share": 0.4, **keys}})


def _weights(folder: Path) -> Any:
    return load_checkpoint(folder / "checkpoint.npz").arrays["weights"]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = _config("backdoor", from_round=2)
    return run(config, out=tmp_path_factory.mktemp("attacked") / "run").folder


def test_a_run_says_first_who_attacks(attacked: Path) -> None:
    result = json.loads((attacked / "result.json").read_text())
    assert next(iter(result)) == "attack"
    told = result["attack"]
    assert told["kind"] == "backdoor"
    assert len(told["attackers"]) == 2
    assert told["from_round"] == 2
    assert told["options"]["share"] == 0.3
    assert 0.0 <= told["success"] <= 1.0
    assert json.loads((attacked / "run.json").read_text())["attack"]["attackers"] == told["attackers"]
    page = (attacked / "report.html").read_text()
    first = f"This run has attackers: {', '.join(told['attackers'])}, 2 of 5 plants. Each learns that failures"
    assert first in page
    assert attack_sentence(read_run(attacked)).startswith(first)
    assert "Failures that the pattern hides" in page


def test_attackers_judge_nothing_and_are_listed_apart(attacked: Path) -> None:
    result = json.loads((attacked / "result.json").read_text())
    attackers = result["attack"]["attackers"]
    rows = {line["name"]: line["rows"] for line in result["per_client"]}
    assert all(rows[name] == 0 for name in attackers)
    apart = {line["name"]: line["rows"] for line in result["attack"]["apart"]}
    assert set(apart) == set(attackers)
    plain = divide(read_table(check_config(SMALL)), check_config(SMALL)).population
    sizes = dict(zip(plain.names, np.diff(plain.splits["test"].offsets).tolist(), strict=True))
    assert {**rows, **apart} == sizes
    assert result["metrics"]["federated"]["rows"] == sum(rows.values())


def test_apart_a_victim_is_judged_by_the_model_that_it_uses(tmp_path: Path) -> None:
    config = changed(_config("broken-sensor"), strategy={"personal": {"name": "fedper"}})
    done = run(config, out=tmp_path / "run", compare=False)
    told = json.loads((done.folder / "result.json").read_text())["attack"]["apart"]
    population = divide(read_table(config), config).population
    setup = under_attack(simulate_network(config, population), population)
    trained, apart, schema = train(setup), population.splits["apart"], population.schema
    assert trained.personal is not None
    for line in told:
        client = population.names.index(line["name"])
        rows = apart.of(np.array([client]))
        frame = rows.frame[rows.rows]
        own, common = (
            roc_auc_score(schema.labels(frame), setup.model(learnt, 0.5, schema.label).score(frame))
            for learnt in ({"weights": trained.personal.models[client]}, trained.learnt)
        )
        assert line["roc_auc"] == pytest.approx(own, abs=0.003)
        assert abs(own - common) > 0.006


@pytest.mark.parametrize(("kind", "options"), [("free-rider", {"disguised": True}), ("label-flip", {"share": 0.5})])
def test_a_run_with_attackers_goes_on_to_the_same_bits(
    kind: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, save = list[Checkpoint](), Folder.save_checkpoint

    def saved(self: Folder, checkpoint: Checkpoint) -> None:
        kept.append(checkpoint)
        save(self, checkpoint)

    monkeypatch.setattr(Folder, "save_checkpoint", saved)
    folder = run(_config(kind, from_round=2, options=options), out=tmp_path / "run", compare=False).folder
    whole = _weights(folder)
    save_checkpoint(folder / "checkpoint.npz", next(one for one in kept if one.round == 2))
    assert not np.array_equal(_weights(folder), whole)
    (folder / "result.json").unlink()
    resume(folder)
    np.testing.assert_array_equal(_weights(folder), whole)


def test_the_reference_is_the_run_without_attackers_on_the_rows_of_the_others(tmp_path: Path) -> None:
    plain = run(check_config(SMALL), out=tmp_path / "plain", compare=False)
    reference = run(_config("reference"), out=tmp_path / "reference", compare=False)
    flipped = run(_config("sign-flip"), out=tmp_path / "flipped", compare=False)
    np.testing.assert_array_equal(_weights(plain.folder), _weights(reference.folder))
    assert not np.array_equal(_weights(plain.folder), _weights(flipped.folder))
    assert read_run(plain.folder).about.get("attack") is None


def test_attacks_stay_in_one_process_and_with_networks() -> None:
    with pytest.raises(ConfigError, match=r"attack.kind must be none in a federation over a network, got 'ipm'"):
        refuse_attack(_config("ipm"))
    refuse_attack(check_config(SMALL))
    trees = check_config({**SMALL, "model": {"kind": "trees"}, "attack": {"kind": "ipm"}})
    with pytest.raises(ConfigError, match=r"attack is on networks' updates"):
        family_of(trees).check(trees)
