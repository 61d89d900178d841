"""What a training sees of a run, of whatever kind its model is: the one seam between the loop and the families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from werkbund.config.sections import Config
from werkbund.core.arrays import Arrays, FloatingArray, Int64Array
from werkbund.core.clients import ClientSplits
from werkbund.core.types import RoundRecord
from werkbund.data import Preparation
from werkbund.engine import Grid, Handler, Rules, Stage
from werkbund.model import Model


class Trainable(Protocol):
    """Be the server's parts of a run. A state is the family's own `Stage`, and what is learnt lies in it."""

    @property
    def config(self) -> Config:
        """What the parts were made from."""

    @property
    def preparation(self) -> Preparation:
        """From raw units to features, the same at all clients."""

    @property
    def mode_names(self) -> tuple[str, ...]:
        """Names of the failure modes that clients count."""

    @property
    def grid(self) -> Grid:
        """Reaches the clients."""

    @property
    def rules(self) -> Rules:
        """What every round obeys; its fingerprint differs as soon as a run could not be continued with these parts."""

    @property
    def num_rounds(self) -> int:
        """Rounds that are planned."""

    @property
    def num_parameters(self) -> int | None:
        """Numbers that are learnt; None where that shows only afterwards."""

    @property
    def absent(self) -> Mapping[str, str]:
        """Why each client that had no part in what was agreed for these parts is missing, by name."""

    def begin(self) -> Stage:
        """Return the state before the first round."""

    def rounds(self, state: Any) -> Iterator[tuple[Stage, RoundRecord]]:
        """Do the rounds that are left from a state on; a record's counts score what the round began with."""

    def evaluate(self, state: Any, clients: Int64Array | None = None) -> RoundRecord:
        """Let clients count what is learnt: if given, these, one row of counts each; else everybody."""

    def model(self, learnt: Any, threshold: float, label: str) -> Model:
        """Return what is learnt as a model that scores raw tables."""

    def pack(self, learnt: Any) -> Arrays:
        """Return what is learnt as named arrays, for a message."""

    def unpack(self, arrays: Arrays) -> Any:
        """Return what is learnt that lies in a message."""


class Work(Protocol):
    """Be what clients do in a run, with the rows that are here."""

    def handlers(self) -> Mapping[str, Handler]:
        """Return the functions for the kinds of tasks that clients know."""


class Simulated(Trainable, Protocol):
    """Be the parts of a run whose clients are all here."""

    @property
    def splits(self) -> ClientSplits:
        """The clients' prepared rows."""

    def alone(self, client: int | None) -> Simulated:
        """Return one client as a federation by itself; without a number, all rows in one place."""

    def logits(self, learnt: Any) -> FloatingArray:
        """Return the logits of everybody's test rows: (rows,)."""

    def work(self) -> Work:
        """Return what clients do, with their rows as they are here."""
