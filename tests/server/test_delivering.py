from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from werkbund.core.kinds import Kind
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.asking import NO_ANSWER
from werkbund.engine.kinds import TRAIN
from werkbund.plant.leaving import DELIVER
from werkbund.server.delivering import OfferedModel, deliver

OFFER = OfferedModel({"weights": np.ones(3, np.float32)}, 0.25, {"name": "it"}, 7)

NAMES = ("Hof", "Ulm")


class Told:
    """Let a test say what arrives."""

    def __init__(self, arrivals: Sequence[Replies | Failure]) -> None:
        self.arrivals, self.sent = arrivals, list[Tasks]()

    def clients(self) -> tuple[str, ...]:
        return NAMES

    def send(self, tasks: Tasks) -> None:
        self.sent.append(tasks)

    def receive(self, timeout_s: float) -> Any:
        yield from self.arrivals


def _said(client: int = 0, kind: Kind = DELIVER, /, **clear: str) -> Replies:
    return Replies(kind, 7, np.array([client]), {}, {name: np.array([text]) for name, text in clear.items()})


def _accepted(accepted: Any = True, reason: Any = "better") -> str:
    return json.dumps({"accepted": accepted, "reason": reason})


def _deliver(*arrivals: Replies | Failure) -> Any:
    return deliver(Told(arrivals), OFFER, 1.0)


def test_everybody_gets_weights_threshold_and_card() -> None:
    grid = Told(())
    deliver(grid, OFFER, 1.0)
    (sent,) = grid.sent
    assert (sent.kind, sent.round, sent.clients.tolist()) == (DELIVER, 7, [0, 1])
    assert sent.shared["weights"].tolist() == [1, 1, 1]
    assert float(sent.shared["threshold"]) == 0.25
    assert json.loads(str(sent.shared["card"][0])) == {"name": "it"}


def test_verdicts_are_told_by_name_and_nobody_is_waited_for() -> None:
    figures = json.dumps({"offered": {"brier": 0.1}, "alone": {"brier": None, "recall_by_mode": {"TWF": None}}})
    delivered = _deliver(_said(1, accepted=_accepted(False, "worse"), figures=figures))
    assert (delivered["Hof"].accepted, delivered["Hof"].reason) == (None, NO_ANSWER)
    assert (delivered["Ulm"].accepted, delivered["Ulm"].reason) == (False, "worse")
    assert delivered["Ulm"].figures["alone"] == {"brier": None, "recall_by_mode": {"TWF": None}}
    failed = _deliver(Failure(0, 7, "is offline"))["Hof"]
    assert (failed.accepted, failed.reason, failed.figures) == (None, "is offline", {})


@pytest.mark.parametrize(
    "clear",
    [
        {},
        {"accepted": "no JSON"},
        {"accepted": "[]"},
        {"accepted": "[" * 5000},
        {"accepted": _accepted("yes")},
        {"accepted": _accepted(1)},
        {"accepted": _accepted(True, 3)},
        {"accepted": json.dumps({"accepted": True})},
        {"accepted": _accepted(), "figures": "[]"},
        {"accepted": _accepted(), "figures": '{"alone": 5}'},
        {"accepted": _accepted(), "figures": '{"alone": {"secret": 5}}'},
        {"accepted": _accepted(), "figures": '{"others": {}}'},
        {"accepted": _accepted(), "figures": '{"alone": {"brier": "low"}}'},
        {"accepted": _accepted(), "figures": '{"alone": {"brier": Infinity}}'},
        {"accepted": _accepted(), "figures": '{"alone": {"rows": true}}'},
        {"accepted": _accepted(), "figures": '{"alone": {"recall_by_mode": [1]}}'},
        {"accepted": _accepted(), "figures": '{"alone": {"recall_by_mode": {"TWF": "all"}}}'},
    ],
)
def test_a_verdict_that_is_none_is_no_answer(clear: dict[str, str]) -> None:
    delivered = _deliver(_said(0, DELIVER, **clear), _said(1, accepted=_accepted()))
    assert delivered["Hof"].accepted is None
    assert delivered["Hof"].reason.startswith("its answer cannot be read")
    assert delivered["Hof"].figures == {}
    assert delivered["Ulm"].accepted is True


def test_an_array_without_a_row_is_no_answer() -> None:
    empty = Replies(DELIVER, 7, np.array([0]), {}, {"accepted": np.empty(0, np.str_)})
    assert _deliver(empty)["Hof"].accepted is None


def test_answers_of_others_and_second_ones_are_not_heard() -> None:
    delivered = _deliver(
        _said(5, accepted=_accepted()),
        _said(0, TRAIN, accepted=_accepted()),
        _said(1, accepted=_accepted(False, "worse")),
        _said(1, accepted=_accepted(True, "second thoughts")),
    )
    assert delivered["Hof"].accepted is None
    assert (delivered["Ulm"].accepted, delivered["Ulm"].reason) == (False, "worse")


def test_a_reason_is_one_line_that_a_terminal_cannot_obey() -> None:
    reason = _deliver(_said(0, accepted=_accepted(True, "fine\n\x1b[2J" + "x" * 9000)))["Hof"].reason
    assert reason.startswith("fine  [2J")
    assert len(reason) == 2000
