"""Train one federation from a stage to the end: score each round, keep the best, stop early, leave checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays, Float32Array, Int64Array
from werkbund.core.defaults import ENOUGH_FAILURES
from werkbund.core.types import RoundRecord
from werkbund.engine import Checkpoint, Personalised, evaluators
from werkbund.engine.clusters import model_of, models_apart
from werkbund.engine.records import remarks_on
from werkbund.evaluation import (
    DIRECTIONS,
    Counts,
    Metrics,
    Threshold,
    asked_well,
    own_thresholds,
    score_counts,
)
from werkbund.evaluation.stopping import Best, Progress, Tally, reason_to_stop
from werkbund.evaluation.watch import Nobody, RoundNews, Watcher
from werkbund.federation.families.contract import Setup, Stage
from werkbund.federation.wiring import WEIGHTS, costs_of, promise_of, stop_rules

Save = Callable[[Checkpoint], None]
"""Keeps a checkpoint, in place of the one before."""

Note = Callable[[RoundRecord, Mapping[str, Metrics]], None]
"""Takes in a round's record and, by split, the metrics of the model that the round began with."""


@dataclass(frozen=True)
class Trained:
    """Hold a finished training.

    Parameters
    ----------
    learnt
        What is kept, as named arrays.
    kept_round
        The round that gave them.
    num_rounds
        Rounds that were done.
    stopped
        Why it ended, in words.
    seconds
        Wall-clock time of the rounds.
    counts
        Evaluation counts of what is kept over all clients, by split.
    each
        The same with one row a client, for these `clients`: all, or a seeded sample of very many. Empty where the
        server learns sums alone.
    threshold
        Chosen by cost on the validation rows.
    edges
        The logits between the bins of the counts.
    spent
        What the rounds took.
    personal
        What came of the models of the clients' own; None where the run has none.
    alarms
        Thresholds of models that not all clients use, by the client's number.
    privacy
        What the run promised of a unit, and what each client spent of it; empty where it promised nothing.
    """

    learnt: Arrays
    kept_round: int
    num_rounds: int
    stopped: str
    seconds: float
    counts: Mapping[str, Arrays]
    each: Mapping[str, Arrays]
    clients: Int64Array
    threshold: Threshold
    edges: Float32Array
    spent: Tally = field(default_factory=Tally)
    personal: Personalised | None = None
    alarms: Mapping[int, Threshold] = field(default_factory=dict)
    privacy: Mapping[str, Any] = field(default_factory=dict)

    def of_client(self, client: int) -> tuple[Arrays, Threshold]:
        """Return what the model that a client uses is made of, its own where it made one, and its threshold."""
        alarm = self.alarms.get(client, self.threshold)
        if self.personal is None:
            return model_of(self.learnt, client), alarm
        own = self.personal.models.get(client)
        return (self.learnt, self.threshold) if own is None else ({WEIGHTS: own}, alarm)


@dataclass(frozen=True)
class Outlets:
    """Say where the news of a training goes."""

    watcher: Watcher = field(default_factory=Nobody)
    save: Save | None = None
    note: Note | None = None


def train(setup: Setup, start: Checkpoint | None = None, outlets: Outlets | None = None) -> Trained:
    """Do all rounds, and score what is kept.

    Parameters
    ----------
    setup
        The parts of the run.
    start
        Where to go on; None begins anew.
    outlets
        Who hears of it, where checkpoints and round records go.
    """
    outlets, section, began = outlets or Outlets(), setup.config.federation, time.perf_counter()
    stage = setup.begin() if start is None else setup.restore(start)
    checkpoint = start or stage.checkpoint(None, {})
    if start is None and outlets.save:
        outlets.save(checkpoint)
    best, progress = _best_of(checkpoint), Progress.of_checkpoint(checkpoint.round, checkpoint.progress)
    rows = setup.rules.facts.get("rows", np.empty(0))
    rules = stop_rules(setup.config, setup.num_rounds, rows, setup.grid.clients())
    before = float(checkpoint.progress.get("seconds", 0.0))
    stopped = reason_to_stop(rules, progress)  # a run that was killed after its last round has no more to do
    doing = stage.rounds()
    while stopped is None:
        after, record = next(doing)
        best, score = _judge(setup, record, stage.keepsake, best, outlets)
        stage = after
        progress = progress.and_round(record, stage.round, score, best.round)
        stopped = reason_to_stop(rules, progress)
        if outlets.save and (stage.round % section.checkpoint_every == 0 or stopped is not None):
            outlets.save(_checkpoint(stage, best, progress, before + time.perf_counter() - began))
    trained = _finish(setup, stage, best, outlets)
    spent = before + time.perf_counter() - began
    promise, names = promise_of(setup.config), setup.grid.clients()
    told = promise.told(rows, progress.trainings, names) if promise else {}
    return replace(trained, stopped=stopped, seconds=spent, spent=progress.spent, privacy=told)


def _splits(record: RoundRecord) -> list[Counts]:
    return [Counts.from_arrays(arrays, edges=record.edges) for arrays in record.counts.values()]


def _judge(
    setup: Setup, record: RoundRecord, scored: Float32Array | None, best: Best, outlets: Outlets
) -> tuple[Best, float]:
    """Score a record's counts, tell who wants to know, and return the best round so far and the metric's value."""
    scores, _ = score_counts(record.counts, record.edges, costs_of(setup.config), setup.mode_names)
    metric, value = setup.config.evaluation.metric, math.nan
    if "validation" in scores:
        judges = len(record.evaluated.get("validation", ()))
        value = float(getattr(scores["validation"], metric))
        best = best.or_better(record.scored, value * DIRECTIONS[metric], scored, judges)
    if outlets.note:
        outlets.note(record, scores)
    remarks = remarks_on(record, setup.grid.clients()) if record.outlying or record.refused else {}
    names = setup.grid.clients() if record.failures else ()
    failed = {names[failure.client]: failure.reason for failure in record.failures}
    outlets.watcher.round(RoundNews(record, setup.num_rounds, scores, best.round, failed, remarks))
    return best, value


def _finish(setup: Setup, stage: Stage, best: Best, outlets: Outlets) -> Trained:
    """Score the last stage, choose which to keep, and let every client score it.

    Few failures choose a round by chance: then the last one is kept, as where clients keep a part of it themselves.
    """
    last = stage.evaluate()
    best, _ = _judge(setup, last, stage.keepsake, best, outlets)
    keeping, kept = stage, stage.round
    if setup.config.keeps_best and best.round >= 0 and _failures(last) >= ENOUGH_FAILURES:
        keeping, kept = stage.at(best.round, best.keepsake), best.round
    everyone = np.arange(len(setup.grid.clients()))
    clients = evaluators(everyone, setup.rules, stage.round + 1)
    among = clients if len(clients) == len(everyone) else None
    whole = asked_well(lambda edges: keeping.evaluate(among, edges), _splits, last.edges)
    sample = whole if among is not None else keeping.evaluate(clients, whole.edges)
    _, threshold = score_counts(whole.counts, whole.edges, costs_of(setup.config), setup.mode_names)
    scored = sample.evaluated.get("test", clients)
    each = {} if setup.rules.secure_sums else sample.counts
    done = Trained(keeping.learnt, kept, stage.round, "", 0.0, whole.counts, each, scored, threshold, whole.edges)
    personal = keeping.personalise(scored, whole.edges)
    sharing = None if personal else [members for members, _ in models_apart(keeping.learnt, len(everyone))]
    record, costs = personal.record if personal else sample, costs_of(setup.config)
    return replace(done, personal=personal, alarms=own_thresholds(record, threshold, costs, sharing))


def _failures(record: RoundRecord) -> int:
    """Return the number of failures among the validation rows that were counted."""
    counts = record.counts.get("validation")
    return Counts.from_arrays(counts).positives if counts else 0


def _checkpoint(stage: Stage, best: Best, progress: Progress, seconds: float) -> Checkpoint:
    score = best.score if math.isfinite(best.score) else None
    known = {"best_round": best.round, "best_score": score, "best_judges": best.judges, "seconds": seconds}
    return stage.checkpoint(best.keepsake, {**known, **progress.to_json()})


def _best_of(checkpoint: Checkpoint) -> Best:
    progress = checkpoint.progress
    score = progress.get("best_score")
    reached = -math.inf if score is None else score
    return Best(progress.get("best_round", -1), reached, checkpoint.best, progress.get("best_judges", 0))
