"""How plants stand: what each did round by round, and where it is now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from werkbund.dashboard.runs import Seen
from werkbund.report.folder import RunFolder
from werkbund.report.values import RoundLine, Scores

IDLE, TRAINED, FAILED, STALE, OUTLYING = ".", "t", "f", "s", "o"
"""What a plant did in a round, a letter each: not chosen, trained, failed, sent its update late or far too long."""


def cells(line: RoundLine, num_clients: int) -> str:
    """Return what each client did in a round, a letter a client.

    Examples
    --------
    >>> line = RoundLine.parse({"round": 1, "cohort": [0, 2], "failures": [{"client": 2, "reason": "away"}]})
    >>> cells(line, 4)
    't.f.'
    """
    letters = [IDLE] * num_clients
    marks = (
        (TRAINED, line.cohort),
        (STALE, (int(client) for client, _ in line.stale if client.isdigit())),
        (OUTLYING, (int(client) for client, _ in line.outlying if client.isdigit())),
        (FAILED, (int(client) for client, _ in line.failures if client.isdigit())),
    )
    for letter, clients in marks:
        for client in clients:
            if 0 <= client < num_clients:
                letters[client] = letter
    return "".join(letters)


def plants(seen: Seen, clients: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each plant's standing, by number.

    Parameters
    ----------
    seen
        The run.
    clients
        What the server says of plants that are connected, by name; empty where no server was asked.
    """
    run, facts, figures = seen.run, _facts(seen.run), _figures(seen.run)
    names = run.clients or tuple(clients)
    marks = [cells(line, len(names)) for line in run.trained]
    reasons = _reasons(run)
    told = []
    for number, name in enumerate(names):
        past = "".join(mark[number] for mark in marks)
        now = clients.get(name, {})
        told.append(
            {
                "name": name,
                "state": _now(seen, past),
                "reason": reasons.get(number, "") if past.rstrip(IDLE)[-1:] == FAILED else "",
                "answered": _last_answer(run, past),
                "chosen": len(past) - past.count(IDLE),
                "failed": past.count(FAILED),
                "online": now.get("state"),
                "seen": now.get("last_seen"),
                "rows": facts.get(name, {}).get("rows", now.get("rows")),
                "positives": facts.get(name, {}).get("positives"),
                **figures.get(name, {}),
            }
        )
    return told


def _now(seen: Seen, past: str) -> str:
    """Return where a plant is now: `failed`, `training`, `trained`, `waiting`, or `done` where the run is over.

    A folder tells of rounds that are over. Who trains just now follows where everyone trains in each round.
    """
    last = past[-1:]
    if seen.state != "running":
        return "failed" if last == FAILED else "done" if past.strip(IDLE) else "waiting"
    if past.rstrip(IDLE)[-1:] == FAILED:
        return "failed"
    if seen.settings.get("strategy.selection.name", "all") == "all" and not _is_over(seen):
        return "training"
    return "waiting" if last in (IDLE, "") else "trained"


def _is_over(seen: Seen) -> bool:
    """Say whether all planned rounds are done, so that nobody trains any more."""
    trained = seen.run.trained
    return bool(seen.planned and trained and trained[-1].round >= seen.planned)


def _last_answer(run: RunFolder, past: str) -> int | None:
    """Return the last round in which a plant's answer came; None if none did."""
    places = [place for place, letter in enumerate(past) if letter not in (IDLE, FAILED)]
    return run.trained[places[-1]].round if places else None


def _reasons(run: RunFolder) -> dict[int, str]:
    """Return why each client failed last, by number."""
    return {int(client): why for line in run.trained for client, why in line.failures if client.isdigit()}


def _facts(run: RunFolder) -> dict[str, dict[str, Any]]:
    """Return rows and failures of each plant as far as the run tells them."""
    declared = [plant for plant in run.about.get("plants") or () if isinstance(plant, dict)]
    facts = {str(plant.get("name")): {"rows": plant.get("rows")} for plant in declared}
    if run.skew:
        each = zip(run.skew.names, run.skew.rows, run.skew.positives, strict=True)
        facts |= {name: {"rows": known(rows), "positives": known(positives)} for name, rows, positives in each}
    return facts


def _figures(run: RunFolder) -> dict[str, dict[str, Any]]:
    """Return what each plant gets on its own test rows, and what it made of the model that it was offered."""
    lines = run.result.clients if run.result else ()
    delivered = run.result.delivered if run.result else {}
    return {
        line.name: {
            "test_rows": known(line.federated["rows"]),
            "federated": known(line.federated["average_precision"]),
            "alone": known((line.local or Scores({}))["average_precision"]),
            "cost": known(line.federated["cost"]),
            "cost_alone": known((line.local or Scores({}))["cost"]),
            "delivered": " – ".join(filter(None, delivered.get(line.name, ()))),
        }
        for line in lines
    }


def known(value: float) -> float | None:
    """Return a number that JSON holds, None where it is not finite."""
    return value if math.isfinite(value) else None
