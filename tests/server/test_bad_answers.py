from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from tests.deployed import DirectGrid, weights_in
from tests.spoilt import BAD_TRAINING, Spoil, spoilt
from werkbund.engine.kinds import TRAIN
from werkbund.flower.wire.codec import Ask

LAST = {"evaluation": {"keep_best": False}}


def _reasons(folder: Any) -> dict[int, str]:
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return {line["round"]: "; ".join(f["reason"] for f in line["failures"]) for line in lines if line["cohort"]}


def test_no_bad_update_ends_a_run_or_moves_its_weights(deployed: Any) -> None:
    ways = list(BAD_TRAINING.values())
    sections = {**LAST, "federation": {"rounds": len(ways) + 1}, "data": {"rows": 450}}
    one, other = deployed(**sections), deployed(**sections)

    def spoil(ask: Ask) -> Spoil | None:
        bad = ask.tasks.kind == TRAIN and ask.tasks.round <= len(ways)
        return ways[ask.tasks.round - 1][0] if bad else None

    one.run(one.grid(**{"plant-2": spoilt(one.desk("plant-2").answer, spoil)}))
    reasons = _reasons(one.folder / "run")
    wrong = {
        name: reasons[number]
        for number, (name, (_, expected)) in enumerate(BAD_TRAINING.items(), start=1)
        if not re.search(expected, reasons[number])
    }
    assert wrong == {}
    assert reasons[len(ways) + 1] == ""

    class Absent(DirectGrid):
        def send(self, tasks: Any) -> None:
            away = tasks.kind == TRAIN and tasks.round <= len(ways)
            self.offline = {"plant-2"} if away else set()
            super().send(tasks)

    other.run(Absent({name: other.desk(name).answer for name in other.kits}))
    np.testing.assert_array_equal(weights_in(one.folder / "run"), weights_in(other.folder / "run"))
