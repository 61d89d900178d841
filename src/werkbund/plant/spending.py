"""What a plant's training has told of its rows by its own count, over all runs: a server's words decide nothing here.

Kept are releases, and epsilon is computed from them, so that the budget can be changed afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, NonNegativeFloat, PositiveInt

from werkbund.core.stored import read_stored, write_stored
from werkbund.engine.promise import How, Promise
from werkbund.plant.policy import Policy
from werkbund.privacy.accounting import Release, epsilon, renyi_epsilon

_FILE = "spending.json"
_REMEDY = "restore it from a backup; removed, it would forget what was spent"


class Charge(BaseModel):
    """Hold releases alike of one run.

    Parameters
    ----------
    run, unit
        Names the run; and what it promised something of.
    noise
        Deviation of the noise in multiples of the bound.
    count
        How many.
    rate
        Chance of a unit to be in each.
    shared
        Whether noise is the sum of shares under masks.
    """

    run: str
    unit: str
    noise: NonNegativeFloat
    count: PositiveInt
    rate: NonNegativeFloat
    shared: bool = False

    @staticmethod
    def of(promise: Promise, rows: int, run: str) -> Charge:
        """Return what one training over so many rows costs."""
        how = promise.how(rows)
        noise = promise.noise_at(rows)
        return Charge(run=run, unit=promise.unit, noise=noise, count=how.steps, rate=how.rate, shared=how.shared)

    def release(self) -> Release:
        """Return what the accountant reads."""
        return How(self.rate, self.count, shared=self.shared).release(self.noise, 1)


class Charges(BaseModel):
    """Hold all charges; it is written as JSON."""

    charges: list[Charge]


class Spending:
    """Count what training told of rows or machines, and refuse what is beyond the plant's budget.

    Parameters
    ----------
    state
        Folder of what the plant keeps.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / _FILE
        self._known: Charges | None = None

    def epsilon(self, delta: float) -> float:
        """Return the epsilon of all trainings so far, of whatever unit."""
        return epsilon(self._releases(self._read().charges), delta)

    def refusal(self, promise: Promise | None, rows: int, run: str, policy: Policy) -> str:
        """Return why a plant does not train once more for a run; empty if it does.

        Parameters
        ----------
        promise
            Of the run; None where it promises nothing.
        rows
            Training rows here.
        run
            Names the run.
        policy
            Gives the budget.
        """
        most = policy.epsilon
        if promise is None or not promise.is_kept_by_clients:
            return "" if most is None else f"policy.epsilon is {most:g}, and {_unseen(promise)}"
        if most is not None and policy.unit == "machine" and promise.unit == "row":
            return "policy.unit is machine, and this run promises something of rows alone"
        next_one, known = promise.release(rows, 1), self._read().charges
        if most is not None and not _within([*self._releases(known), next_one], most, policy.delta):
            return (
                f"policy.epsilon is {most:g} at a delta of {policy.delta:g}, and one more training would exceed it; "
                "what was spent does not come back"
            )
        own = [charge for charge in known if charge.run == run]
        if promise.target is not None and not _within([*self._releases(own), next_one], promise.target, promise.delta):
            return f"this run promised an epsilon of {promise.target:g}, and one more training would exceed it"
        return ""

    def charge(self, promise: Promise | None, rows: int, run: str) -> None:
        """Count a training, on disk before it is done."""
        if promise is None or not promise.is_kept_by_clients:
            return
        new, charges = Charge.of(promise, rows, run), list(self._read().charges)
        alike = [place for place, charge in enumerate(charges) if _is_alike(charge, new)]
        if alike:
            charges[alike[0]] = charges[alike[0]].model_copy(update={"count": charges[alike[0]].count + new.count})
        else:
            charges.append(new)
        known = Charges(charges=charges)
        write_stored(self._path, known.model_dump())
        self._known = known

    def _releases(self, charges: Sequence[Charge]) -> list[Release]:
        return [charge.release() for charge in charges]

    def _read(self) -> Charges:
        """Return what is known.

        Raises
        ------
        CheckpointError
            If the file was damaged: a budget that cannot be counted is not lifted.
        """
        if self._known is None:
            none: dict[str, Any] = {"charges": []}
            self._known = Charges(**(read_stored(self._path, Charges, _REMEDY) if self._path.exists() else none))
        return self._known


def _is_alike(one: Charge, other: Charge) -> bool:
    return one.model_copy(update={"count": other.count}) == other


def _unseen(promise: Promise | None) -> str:
    if promise is None:
        return "this run promises nothing of rows or machines (privacy.unit = 'none')"
    return "the noise of this run is the server's, which nobody sees here (privacy.unit = 'plant')"


def _within(releases: Sequence[Release], most: float, delta: float) -> bool:
    """Say whether releases are within an epsilon; the bound that takes no time is looked at first."""
    return renyi_epsilon(releases, delta) <= most or epsilon(releases, delta) <= most
