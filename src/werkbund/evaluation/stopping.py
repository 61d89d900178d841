"""When a training ends: rules that look at where it stands after a round, each a value of its own.

A rule keeps nothing: what it looks at is in the checkpoint, so a resumed run stops where an uninterrupted one does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from werkbund.core.types import RoundRecord
from werkbund.evaluation.metrics import DIRECTIONS


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
    """

    round: int = 0
    score: float = math.nan
    best_round: int = -1
    spent: Tally = Tally()


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
class Target:
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


def reason_to_stop(rules: Sequence[StopRule], progress: Progress) -> str | None:
    """Return what the first rule says that would stop; None if none would."""
    return next((reason for rule in rules if (reason := rule.reason(progress)) is not None), None)
