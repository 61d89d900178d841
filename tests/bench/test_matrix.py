"""A whole small bench of defences: each run once, judged against no attack, gone on with, and shown to people."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import AGGREGATORS, build_aggregator
from werkbund.attack import ATTACKS
from werkbund.bench import AttackPlan, Benched, attack_plan, bench_defences
from werkbund.bench.defences import COLUMNS, AttackCase, DefenceBench, Stand
from werkbund.bench.matrix import matrix_of
from werkbund.cli.bench import matrix_table
from werkbund.config import changed, check_config
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.report import matrix_sentence, read_matrix

BASE = check_config(
    {
        "federation": {"rounds": 5},
        "data": {"source": "generator", "rows": 1500},
        "clients": {"count": 5},
        "model": {"hidden": [4]},
    }
)


def _plan(attacks: tuple[str, ...] = ("sign-flip kappa=20.0", "backdoor"), seeds: int = 2) -> AttackPlan:
    return attack_plan(BASE, ["fedavg", "fedavg momentum=0.0"], attacks, [0.4], range(seeds))


class _Heard:
    def __init__(self) -> None:
        self.stages: list[tuple[int, int]] = []
        self.ends: list[Stand] = []

    def stage(self, what: str, runs: int, done: int) -> None:
        self.stages.append((runs, done))

    def ended(self, outcome: Any) -> None:
        self.ends.append(outcome)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Benched, _Heard]:
    heard, folder = _Heard(), tmp_path_factory.mktemp("matrix") / "bench"
    return bench_defences(_plan(), out=folder, workers=1, listener=heard, command=("werkbund", "bench")), heard


def test_every_defence_stands_every_attack_and_none_with_every_seed(done: tuple[Benched, _Heard]) -> None:
    benched, heard = done
    assert heard.stages == [(12, 0)]
    assert {stand.case for stand in heard.ends} == set(_plan().cases())
    assert not any(stand.error for stand in heard.ends)
    cells = {(cell["defence"], cell["attack"]): cell for cell in benched.result["cells"]}
    assert len(cells) == 6
    reached = {stand.case: stand.figures["average_precision"] for stand in heard.ends}

    def scores(defence: str, attack: str) -> Any:
        return np.array([reached[AttackCase(defence, attack, 0.4, seed)] for seed in (0, 1)])

    for (defence, attack), cell in cells.items():
        ours = scores(defence, attack)
        assert cell["average_precision"]["mean"] == pytest.approx(ours.mean())
        assert cell["kept"]["mean"] == pytest.approx((ours / scores(defence, "reference")).mean())
        assert cell["of_default"]["mean"] == pytest.approx((ours / scores("fedavg", "reference")).mean())
        known = cell["success"]["mean"] is not None
        assert known == (cell["success_reference"]["mean"] is not None) == (attack == "backdoor")
    assert (scores("fedavg", "sign-flip kappa=20.0") != scores("fedavg", "reference")).all()


def test_the_best_defence_is_the_one_that_keeps_most(done: tuple[Benched, _Heard]) -> None:
    result = done[0].result
    for best in result["best"]:
        kept = {
            cell["defence"]: cell["of_default"]["mean"]
            for cell in result["cells"]
            if cell["attack"] == best["attack"] and cell["defence"] != "fedavg"
        }
        assert best["keeps"] == max(kept.values()) == kept[best["defence"]]
        assert best["is_enough"] == (best["keeps"] >= 0.95)


def test_what_was_done_is_not_done_again_and_gives_the_same_figures(
    done: tuple[Benched, _Heard], tmp_path: Path
) -> None:
    folder, whole = done[0].folder, done[0].result
    for name in ("plan.json", "config.toml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    lines = (folder / "outcomes.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "outcomes.jsonl").write_text("".join(lines[:9]) + lines[9][:20])
    heard = _Heard()
    again = bench_defences(_plan(), out=tmp_path, workers=1, listener=heard)
    assert heard.stages == [(12, 9)]
    assert json.dumps(again.result["cells"]) == json.dumps(whole["cells"])
    with pytest.raises(CheckpointError, match="holds another bench: attacks differ"):
        bench_defences(_plan(("ipm",)), out=tmp_path, workers=1)


def test_people_see_the_matrix(done: tuple[Benched, _Heard]) -> None:
    matrix = read_matrix(done[0].folder)
    page = done[0].report.read_text()
    assert "Score kept" in page
    assert "Failures found behind the back door" in page
    assert matrix_sentence(matrix).startswith("Under ")
    table = matrix_table(matrix, 0.4, matrix.attacks)
    heads = [str(column.header).replace("-\n", "-").replace("\n", " ") for column in table.columns]
    assert heads == ["defence", "reference", "sign-flip kappa=20.0", "backdoor"]
    assert table.row_count == 2


def test_a_defence_that_fails_is_an_outcome_and_never_the_best() -> None:
    plan = _plan(("ipm",))
    stands = [
        Stand(case, {}, "too few answered") if "momentum" in case.defence else Stand(case, {"average_precision": 0.5})
        for case in plan.cases()
    ]
    matrix = matrix_of(plan, stands, 1.0)
    assert [best["defence"] for best in matrix["best"]] == ["fedavg"]  # the default is judged where no other is left
    assert {tuple(cell["errors"]) for cell in matrix["cells"]} == {(), ("too few answered",)}


def test_all_stands_for_every_kind_and_every_rule_that_sees_updates() -> None:
    plan = attack_plan(BASE, ["all"], ["all"], [0.2], range(2))
    assert {name.split()[0] for name in COLUMNS} == set(ATTACKS) - {"reference"}
    assert plan.attacks == COLUMNS
    assert set(plan.defences) == {"fedavg"} | {name for name in AGGREGATORS if build_aggregator(name).sees == "each"}
    for case in plan.cases():
        assert plan.config(case).attack.share == 0.2
    assert pickle.loads(pickle.dumps(partial(DefenceBench, plan))).args == (plan,)  # noqa: S301 - our own bytes


def test_a_defence_has_its_own_options_and_what_it_shares_with_the_configurations_rule() -> None:
    base = changed(BASE, strategy={"aggregation": {"momentum": 0.3, "weighting": "equal", "clip_norm": 2.0}})
    plan = attack_plan(base, ["fedavg step=0.5"], ["ipm epsilon=2"], [0.2], range(2))
    case = AttackCase("fedavg step=0.5", "ipm epsilon=2", 0.2, 1)
    section = plan.config(case).strategy.aggregation
    assert section.options["momentum"] == 0.3
    assert section.options["step"] == 0.5
    assert section.options["weighting"] == "examples"
    assert section.clip_norm == 2.0
    assert plan.config(case).attack.options == {"epsilon": 2}
    assert plan.config(case).federation.seed == 1


@pytest.mark.parametrize(
    ("defences", "attacks", "shares", "seeds", "message"),
    [
        (["fedavg"], ["sign-flp"], [0.2], 2, "attack.kind must be one of .* did you mean sign-flip"),
        (["fedavg"], ["ipm eps=1"], [0.2], 2, "takes no option eps"),
        (["fedavgg"], ["ipm"], [0.2], 2, "did you mean fedavg"),
        (["fedavg"], ["ipm"], [1.5], 2, r"--shares must be in \(0, 1\), got 1.5"),
        (["fedavg"], ["ipm"], [0.2], 1, "--seeds must be at least 2"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(
    defences: list[str], attacks: list[str], shares: list[float], seeds: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        attack_plan(BASE, defences, attacks, shares, range(seeds))
