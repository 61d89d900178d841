"""What the page is told of runs, as values that JSON holds: numbers as they are, words in the reader's language."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from werkbund.core.text import one_line
from werkbund.dashboard.comparing import tags
from werkbund.dashboard.runs import Seen
from werkbund.dashboard.standing import cells, known, plants
from werkbund.dashboard.words import Phrases
from werkbund.evaluation.measures import DIRECTIONS
from werkbund.report.folder import RunFolder
from werkbund.report.run_page import is_generated
from werkbund.report.values import RoundLine, Scores
from werkbund.report.verdict import judge

MOST_EVENTS = 200
"""The newest are told, and no more of them."""

_NAMED = 5
_SCORES = ("average_precision", "rmse", "cost")


def summary(seen: Seen) -> dict[str, Any]:
    """Return what the list of runs shows of one."""
    run = seen.run
    done = run.trained[-1].round if run.trained else 0
    best = _best(seen)
    return {
        "key": seen.key,
        "label": seen.label,
        "name": run.name,
        "state": seen.state,
        "round": done,
        "rounds": seen.planned,
        "plants": len(run.clients),
        "created": run.about.get("created"),
        "tags": tags(seen),
        "best_round": best.scored if best else None,
        "score": known(_metric(best, seen.metric)) if best else None,
        "metric": seen.metric,
    }


def state(seen: Seen, words: Phrases, clients: Mapping[str, Mapping[str, Any]], after: int = 0) -> dict[str, Any]:
    """Return all that the page shows of a run, of its rounds those after a number.

    Parameters
    ----------
    seen
        The run.
    words
        Of the reader's language.
    clients
        What a server says of connected plants, by name.
    after
        The last round that the page has.
    """
    return {
        "run": {**summary(seen), **_head(seen)},
        "plants": plants(seen, clients),
        "rounds": rounds(seen, after),
        "privacy": _privacy(seen),
        "lets_out": _lets_out(seen),
        "events": events(seen, words),
    }


def rounds(seen: Seen, after: int = 0) -> list[dict[str, Any]]:
    """Return the rounds after a number: loss, scores, what it took, and what each plant did, a letter each.

    The closing evaluation is the last one, in which nobody did anything.
    """
    num_clients = len(seen.run.clients)
    return [
        _round(line, cells(line, num_clients) if line.cohort else "") for line in seen.run.rounds if line.round > after
    ]


def _head(seen: Seen) -> dict[str, Any]:
    """Return what stands above a run's tables: what it is about, how far it is, and what came of it."""
    run = seen.run
    data = run.about.get("data") or {}
    verdict = judge(run) if run.result else None
    return {
        "fault": seen.fault,
        "stage": seen.stages[-1] if seen.state == "running" and seen.stages else "",
        "rows": data.get("rows"),
        "positives": data.get("positives"),
        "generated": is_generated(run),
        "folder": str(run.path.resolve()),
        "threshold": known(run.result.threshold) if run.result else None,
        "seconds": known(run.result.seconds) if run.result else None,
        "verdict": verdict.sentence if verdict else "",
        "outcome": verdict.outcome if verdict else "unknown",
        "fails": [run.client(client) for client, _ in run.trained[-1].failures] if run.trained else [],
    }


def _round(line: RoundLine, mark: str) -> dict[str, Any]:
    held_out = line.scores.get("validation") or Scores({})
    return {
        "round": line.round,
        "scored": line.scored,
        "cells": mark,
        "loss": known(line.loss),
        **{name: known(held_out[name]) for name in _SCORES},
        "seconds": known(line.seconds),
        "simulated": known(line.simulated_seconds),
        "joules": known(line.joules),
        "down": known(line.bytes_down),
        "up": known(line.bytes_up),
    }


def _metric(line: RoundLine | None, metric: str) -> float:
    scores = line.scores.get("validation") if line else None
    return scores[metric] if scores else math.nan


def _best(seen: Seen) -> RoundLine | None:
    """Return the round whose weights were kept, or while it goes on the best one by its validation metric."""
    kept = seen.run.result.best_round if seen.run.result else None
    scored = [line for line in seen.run.rounds if math.isfinite(_metric(line, seen.metric))]
    if kept is not None:
        return next((line for line in seen.run.rounds if line.scored == kept), None)
    direction = DIRECTIONS.get(seen.metric, 1)
    return max(scored, key=lambda line: direction * _metric(line, seen.metric), default=None)


def _privacy(seen: Seen) -> dict[str, Any]:
    """Return what training promised, and what is left of it: rounds while it goes on, epsilon once it is over."""
    settings, told = seen.settings, seen.run.result.privacy if seen.run.result else {}
    return {
        "unit": told.get("unit") or settings.get("privacy.unit", "none"),
        "target": settings.get("privacy.target_epsilon"),
        "noise": settings.get("privacy.noise_multiplier"),
        "delta": told.get("delta") or settings.get("privacy.delta"),
        "epsilon": told.get("epsilon"),
        "seeded": bool(told.get("seeded") or settings.get("privacy.seeded")),
        "spent": {str(one.get("client")): one.get("epsilon") for one in told.get("clients") or ()},
        "secure_sums": bool(settings.get("privacy.secure_sums")),
    }


def _lets_out(seen: Seen) -> dict[str, Any]:
    """Return what left the plants, and what each kept to itself."""
    told = seen.run.about.get("server_sees")
    told = told if isinstance(told, Mapping) else {}
    declared = [plant for plant in seen.run.about.get("plants") or () if isinstance(plant, dict)]
    return {
        "sums": [str(what) for what in told.get("sums") or ()],
        "each": [str(what) for what in told.get("each") or ()],
        "plants": [
            {
                "name": str(plant.get("name")),
                "version": plant.get("werkbund"),
                "refused": [str(name) for name in plant.get("refused") or ()],
                "bin_rows": plant.get("bin_rows"),
            }
            for plant in declared
        ],
    }


def events(seen: Seen, words: Phrases) -> list[dict[str, Any]]:
    """Return what happened: round (None outside of rounds), level (`good`, `info`, `warning`, `error`) and text.

    The beginning has its moment, `at`, in ISO 8601.
    """
    told = [*_before(seen, words), *_during(seen.run, words), *_after(seen, words)]
    shown = [{"round": round, "level": level, "text": text} for round, level, text in reversed(told)][:MOST_EVENTS]
    if created := seen.run.about.get("created"):
        shown.append({"round": None, "level": "info", "text": _beginning(seen, words), "at": str(created)})
    return shown


def _beginning(seen: Seen, words: Phrases) -> str:
    return words("event.started", number=len(seen.run.clients))


_Event = tuple[int | None, str, str]


def _before(seen: Seen, words: Phrases) -> Iterator[_Event]:
    for check in seen.checks:
        if check.get("level") in ("warning", "error"):
            what = one_line(f"{check.get('client')}: {check.get('what')}. {check.get('remedy') or ''}".strip())
            yield None, str(check["level"]), what
    for finding in seen.run.about.get("findings") or ():
        if isinstance(finding, dict) and not seen.checks:
            text = one_line(f"{finding.get('column')}: {finding.get('message')}")
            yield None, "error" if finding.get("level") == "error" else "warning", text


def _during(run: RunFolder, words: Phrases) -> Iterator[_Event]:
    """Yield what changes from round to round, so that a plant that stays away is told once."""
    away: dict[str, str] = {}
    for line in run.trained:
        failed = {run.client(client): why for client, why in line.failures}
        yield from _failures(line, {name: why for name, why in failed.items() if away.get(name) != why}, words)
        trained = {run.client(str(client)) for client in line.cohort} - set(failed)
        if back := sorted(set(away) & trained):
            yield line.round, "good", words("event.back", who=_names(back, words))
        away = {name: why for name, why in (away | failed).items() if name not in trained}
        if line.outlying:
            who = _names([run.client(client) for client, _ in line.outlying], words)
            yield line.round, "warning", words("event.outlying", who=who)
        if line.refused:
            yield line.round, "error", words("event.refused", why=one_line(line.refused))


def _failures(line: RoundLine, failed: dict[str, str], words: Phrases) -> Iterator[_Event]:
    shown = list(failed.items())[:_NAMED]
    for name, why in shown:
        yield line.round, "error", words("event.failed", who=name, why=one_line(why))
    if len(failed) > len(shown):
        yield line.round, "error", words("event.more", number=len(failed) - len(shown))


def _after(seen: Seen, words: Phrases) -> Iterator[_Event]:
    if seen.state == "running" and seen.stages:
        yield None, "info", words("event.stage", what=one_line(seen.stages[-1]))
    if seen.run.result is not None:
        yield None, "good", words("event.finished", why=one_line(seen.run.result.stopped))
    if seen.fault:
        yield None, "error", seen.fault
    if seen.state == "stopped" and seen.run.about:
        yield None, "warning", words("event.stopped")


def _names(names: list[str], words: Phrases) -> str:
    more = f" {words('event.others', number=len(names) - _NAMED)}" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
