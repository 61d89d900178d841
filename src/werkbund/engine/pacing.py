"""When a round closes, and what becomes of updates that come after that.

A round may wait for all of its cohort, for the first of them, or for so many updates of whatever age. An update that
comes late was made from older weights: it counts the less the more rounds went by since then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from werkbund.aggregation.contract import UPDATE
from werkbund.core.arrays import Arrays, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.kinds import HELD_OUT, Kind
from werkbund.core.types import Choice, Failure, Replies, Tasks
from werkbund.engine.asking import Asking
from werkbund.engine.kinds import TRAIN

Close = Literal["all", "first", "buffer"]

TOO_LATE = "its update came {} rounds late, and at most {} count (strategy.pace)"
"""Why an update of an earlier round is not used."""


@dataclass(frozen=True)
class Pace:
    """Say when a round closes.

    Parameters
    ----------
    close
        `all`: when everybody who was asked has answered. `first`: when `updates` of those that were asked in this round
        have (k of n). `buffer`: when `updates` have come of whoever was asked, in this round or earlier; who has
        answered is asked again, and nobody waits for anybody else (FedBuff).
    updates
        How many updates are waited for; None with `all` alone.
    exponent
        An update that is s rounds old counts (1 + s) ** -exponent; 0 counts all alike.
    most_stale
        Updates that are older are not used; 0 uses none that is late.

    Raises
    ------
    ConfigError
        If one is out of range.

    References
    ----------
    Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022, algorithm 1 (buffer) and
    section 5 (the exponent 1/2). The sum of discounted updates is divided by the weights that they had before, so that
    old news shorten the step.
    """

    close: Close = "all"
    updates: int | None = None
    exponent: float = 0.5
    most_stale: int = 20

    def __post_init__(self) -> None:
        rules = [
            ("close", self.close in ("all", "first", "buffer"), "must be all, first or buffer"),
            ("updates", self.updates is None or self.updates >= 1, "must be at least 1"),
            (
                "updates",
                (self.updates is None) == self.is_full,
                "must be given with first and buffer alone",
            ),
            ("exponent", 0 <= self.exponent < math.inf, "must be at least 0 and finite"),
            ("most_stale", self.most_stale >= 0, "must be at least 0"),
        ]
        for name, holds, rule in rules:
            if not holds:
                raise ConfigError(f"strategy.pace.{name} {rule}, got {getattr(self, name)!r}")

    @property
    def is_full(self) -> bool:
        """Whether everybody who was asked is waited for, so that no update is late."""
        return self.close == "all"

    def discount(self, age: int) -> float:
        """Return what an update counts that is so many rounds old.

        Examples
        --------
        >>> [round(Pace("buffer", 3).discount(age), 6) for age in (0, 1, 3)]
        [1.0, 0.707107, 0.5]
        """
        return float((1.0 + age) ** -self.exponent)


@dataclass(frozen=True)
class Due:
    """Hold who was asked for an update and has not answered yet.

    Parameters
    ----------
    clients
        (clients,), ascending.
    rounds
        (clients,), in which round each was asked.
    factors
        (clients,), what each update is multiplied by at its client.
    """

    clients: Int64Array
    rounds: Int64Array
    factors: Float64Array

    @staticmethod
    def nobody() -> Due:
        """Return that nobody owes an update."""
        return Due(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    def __len__(self) -> int:
        return len(self.clients)

    def joined_by(self, choice: Choice, round: int) -> Due:
        """Return what is due when a cohort, of which nobody owes anything, has been asked too."""
        clients = np.concatenate([self.clients, choice.cohort])
        rounds = np.concatenate([self.rounds, np.full(len(choice.cohort), round)])
        order = np.argsort(clients, kind="stable")
        return Due(clients[order], rounds[order], np.concatenate([self.factors, choice.factors])[order])

    def still(self, asking: Asking) -> Due:
        """Return what is due after some have answered."""
        owed = {client for kinds in asking.owed.values() for client in kinds}
        left = np.isin(self.clients, sorted(owed))
        return Due(self.clients[left], self.rounds[left], self.factors[left])

    def owed(self) -> dict[int, dict[int, Kind]]:
        """Return it as `Asking` keeps it: kinds of tasks by round and client."""
        owed: dict[int, dict[int, Kind]] = {}
        for client, round in zip(self.clients.tolist(), self.rounds.tolist(), strict=True):
            owed.setdefault(round, {})[client] = TRAIN
        return owed

    def arrays(self) -> Arrays:
        """Return it as named arrays, for a checkpoint; nothing where nobody owes an update."""
        return {"clients": self.clients, "rounds": self.rounds, "factors": self.factors} if len(self) else {}

    @staticmethod
    def of_arrays(arrays: Arrays) -> Due:
        """Return what `arrays` described."""
        return Due(arrays["clients"], arrays["rounds"], arrays["factors"]) if arrays else Due.nobody()


def check_choice(choice: Choice, asked: tuple[Tasks, ...]) -> None:
    """Refuse a choice that only a round that waits for everybody can carry out.

    Raises
    ------
    ConfigError
        If the selector asks before it chooses, or divides or repeats updates by a rule of its own.
    """
    faults = {
        "asks clients before it chooses": bool(asked) or choice.held,
        "keeps the first answers itself": choice.keep is not None,
        "divides the sum by a total of its own": choice.total is not None,
        "uses earlier updates once more": choice.reused is not None,
    }
    odd = [what for what, holds in faults.items() if holds]
    if odd:
        raise ConfigError(
            f"strategy.pace.close must be all with a selector that {' and '.join(odd)}; choose all or uniform as "
            "strategy.selection.name, or leave strategy.pace out"
        )


def paced(
    asking: Asking, tasks: Tasks, pace: Pace, due: Due, timeout_s: float, *, is_last: bool, apart: bool
) -> Iterator[Replies | Failure]:
    """Ask a cohort, and yield answers to this and earlier rounds until the round closes.

    In a run's last round everybody is waited for who owes an update, so that none is lost.

    Parameters
    ----------
    asking
        Knows who owes what from earlier rounds.
    tasks
        For the cohort.
    pace
        When the round closes.
    due
        Who owes an update, the cohort included.
    timeout_s
        Seconds to wait; who has not answered then is waited for no longer.
    is_last
        Whether no round comes after this one.
    apart
        Whether held-out rows were scored already, so that counts beside updates are left out.
    """
    any_age = pace.close == "buffer" or is_last or not len(tasks)
    owing = len(due) if any_age else len(tasks)
    wanted = owing if pace.updates is None or is_last else min(pace.updates, owing)
    asking.send(tasks)
    with closing(asking.receive(timeout_s)) as arrivals:
        for arrival in arrivals:
            age = tasks.round - arrival.round
            for counting in _of_age(arrival, age, pace, apart):
                if isinstance(counting, Replies) and (any_age or age == 0):
                    wanted -= len(counting)
                yield counting
            left = asking.owed if any_age else {tasks.round: asking.owed.get(tasks.round)}
            if wanted <= 0 or not any(left.values()):
                return
    yield from asking.give_up()


def measured(asking: Asking, tasks: Tasks, timeout_s: float) -> Iterator[Replies | Failure]:
    """Ask for counts alone, and leave whatever else is under way to a later call."""
    asking.send(tasks)
    if any(asking.owed.values()):
        with closing(asking.receive(timeout_s)) as arrivals:
            for arrival in arrivals:
                yield arrival
                if not any(asking.owed.values()):
                    return
    yield from asking.give_up()


def _of_age(arrival: Replies | Failure, age: int, pace: Pace, apart: bool) -> Iterator[Replies | Failure]:
    """Yield an arrival as it counts in a round that is so many rounds later."""
    if isinstance(arrival, Failure) or (age == 0 and not apart):
        yield arrival
    elif age > pace.most_stale:
        why = TOO_LATE.format(age, pace.most_stale)
        yield from (Failure(client, arrival.round, why, answered=True) for client in arrival.clients.tolist())
    else:
        yield _without_counts(discounted(arrival, pace.discount(age)))


def discounted(replies: Replies, factor: float) -> Replies:
    """Return an answer whose update counts so much less, while its weight stays: the mean is divided by the whole."""
    if factor == 1:
        return replies
    update = (replies.sums[UPDATE] * factor).astype(np.float32)
    return replace(replies, sums={**replies.sums, UPDATE: update})


def _without_counts(replies: Replies) -> Replies:
    """Return an answer without counts of held-out rows: they are of older weights, or were asked for apart."""
    prefixes = tuple(f"{split}." for split in HELD_OUT)
    sums = {name: rows for name, rows in replies.sums.items() if not name.startswith(prefixes)}
    return replace(replies, sums=sums, pooled={})
