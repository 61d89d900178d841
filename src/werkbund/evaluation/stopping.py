"""Where a training stands after a round, the best round so far, and when it ends: rules, each a value of its own.

A rule keeps nothing: what it looks at is in the checkpoint, so a resumed run stops where an uninterrupted one does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from werkbund.core.arrays import Float32Array
from werkbund.core.types import RoundRecord
from werkbund.evaluation.measures import DIRECTIONS


@dataclass(frozen=True)
class Tally:
    """Hold what a training has taken so far.

    Parameters
    ----------
    seconds
        Wall-clock time of its rounds.
    simulated_seconds, joules
        In a simulated world; 0 without one.
    bytes
        Payload of all messages, both ways.
    reward
        What clients were promised and earned.
    """

    seconds: float = 0.0
    simulated_seconds: float = 0.0
    joules: float = 0.0
    bytes: float = 0.0
    reward: float = 0.0

    def and_round(self, record: RoundRecord) -> Tally:
        """Return the tally after one more round."""
        return Tally(
            self.seconds + record.seconds,
            self.simulated_seconds + record.simulated_seconds,
            self.joules + record.joules,
            self.bytes + record.bytes_down + record.bytes_up,
            self.reward + record.reward,
        )

    def to_json(self) -> dict[str, float]:
        """Return the fields by name, as values that JSON holds."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Tally:
        """Return what `to_json` gave; what is not there is 0."""
        return cls(**{field.name: float(written.get(field.name, 0.0)) for field in fields(cls)})


@dataclass(frozen=True)
class Best:
    """Remember the best round so far, by the validation metric; higher scores are better here.

    Parameters
    ----------
    round
        Its number; 0 is what training began with, -1 is none yet.
    score
        Its metric, turned so that more is better.
    keepsake
        What has to be kept to come back to it, such as a network's weights; None if later stages hold it anyway.
    judges
        How many clients' validation rows it was judged by.
    """

    round: int = -1
    score: float = -math.inf
    keepsake: Float32Array | None = None
    judges: int = 0

    def or_better(self, round: int, score: float, keepsake: Float32Array | None, judges: int = 0) -> Best:
        """Return this or the new one; a score that is undefined never wins over one that is.

        Scores by different clients are scores on different rows: more judges outweigh a better score, and fewer never
        win.
        """
        if math.isnan(score) or judges < self.judges:
            return self
        return Best(round, score, keepsake, judges) if score > self.score or judges > self.judges else self


@dataclass(frozen=True)
class Progress:
    """Say where a training stands after a round.

    Parameters
    ----------
    round
        Rounds that are done.
    score
        The validation metric of the weights that were scored last, those before the last round; NaN if unknown.
    best_round
        The round of the best weights so far; -1 is none yet.
    spent
        What it took.
    trainings
        In how many rounds each client was asked to train, by its number; those that never were are left out.
    """

    round: int = 0
    score: float = math.nan
    best_round: int = -1
    spent: Tally = Tally()
    trainings: Mapping[int, int] = field(default_factory=dict)

    def and_round(self, record: RoundRecord, round: int, score: float, best_round: int) -> Progress:
        """Return where it stands after one more round."""
        asked = {client: self.trainings.get(client, 0) + 1 for client in record.cohort}
        return Progress(round, score, best_round, self.spent.and_round(record), {**self.trainings, **asked})

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint keeps beside the round and the best one, as values that JSON holds."""
        trainings = {str(client): count for client, count in sorted(self.trainings.items())}
        score = self.score if math.isfinite(self.score) else None
        return {"score": score, "spent": self.spent.to_json(), "trainings": trainings}

    @classmethod
    def of_checkpoint(cls, round: int, written: Mapping[str, Any]) -> Progress:
        """Return where a training stands that goes on after a round, from what a checkpoint keeps."""
        score, spent = written.get("score"), Tally.from_json(written.get("spent", {}))
        trainings = {int(client): int(count) for client, count in written.get("trainings", {}).items()}
        known = math.nan if score is None else float(score)
        return cls(round, known, int(written.get("best_round", -1)), spent, trainings)


class StopRule(Protocol):
    """Decide whether a training ends."""

    def reason(self, progress: Progress) -> str | None:
        """Return why no further round begins, in words; None to go on."""


@dataclass(frozen=True)
class AllRounds:
    """Stop after a number of rounds."""

    rounds: int

    def reason(self, progress: Progress) -> str | None:
        """Return why it ends, or None."""
        return f"all {self.rounds} rounds done" if progress.round >= self.rounds else None


@dataclass(frozen=True)
class EarlyStop:
    """Stop once the last weights that were scored were no better than the best ones for `patience` rounds."""

    patience: int
    metric: str

    def reason(self, progress: Progress) -> str | None:
        """Return why it ends, or None."""
        waited = progress.round - 1 - progress.best_round
        return f"no better validation {self.metric} for {self.patience} rounds" if waited >= self.patience else None


@dataclass(frozen=True)
class TargetReached:
    """Stop once the validation metric reaches a value; from above, for one of which less is better."""

    value: float
    metric: str

    def reason(self, progress: Progress) -> str | None:
        """Return why it ends, or None."""
        sign = DIRECTIONS[self.metric]
        if not progress.score * sign >= self.value * sign:
            return None
        return f"validation {self.metric} reached {progress.score:.4g} (stop.target = {self.value:g})"


@dataclass(frozen=True)
class Budget:
    """Begin no further round once so much is spent; the last round may go beyond it.

    Parameters
    ----------
    what
        A field of `Tally`.
    most
        In its unit.
    """

    what: str
    most: float

    def reason(self, progress: Progress) -> str | None:
        """Return why it ends, or None."""
        spent = getattr(progress.spent, self.what)
        return f"the budget is spent: {spent:.6g} of stop.{self.what} = {self.most:g}" if spent >= self.most else None


@dataclass(frozen=True)
class PrivacyBudget:
    """Begin no round in which a client could exceed what was promised of its rows, if it were asked to train again.

    Parameters
    ----------
    most
        In how many rounds each client may train, by its number.
    names
        Of the clients.
    target
        The epsilon that was promised.
    """

    most: Mapping[int, int]
    names: Sequence[str]
    target: float

    def reason(self, progress: Progress) -> str | None:
        """Return why it ends, or None."""
        for client, most in self.most.items():
            if progress.trainings.get(client, 0) >= most:
                return (
                    f"{self.names[client]} has trained in {most} rounds, and one more would exceed "
                    f"privacy.target_epsilon = {self.target:g}"
                )
        return None


def reason_to_stop(rules: Sequence[StopRule], progress: Progress) -> str | None:
    """Return what the first rule says that would stop; None if none would."""
    return next((reason for rule in rules if (reason := rule.reason(progress)) is not None), None)
