"""What the jobs see of a run, of whatever kind its model is: the one seam between the loop and the families.

A family makes a run's parts; the parts make the stage before the first round, or the one in a checkpoint; a stage does
the rounds that follow. What is learnt crosses the seam as named arrays, which only the family's own parts read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from werkbund.config.sections import Config
from werkbund.core.arrays import Arrays, Float32Array, FloatingArray, Int64Array
from werkbund.core.clients import ClientSplits
from werkbund.core.kinds import Kind
from werkbund.core.target import Target
from werkbund.core.types import RoundRecord
from werkbund.data import Preparation
from werkbund.engine import Checkpoint, Grid, Handler, Personalised, Rules
from werkbund.model import Model


class Stage(Protocol):
    """Be what goes from round to round, bound to the parts of the run that go on with it."""

    @property
    def round(self) -> int:
        """Number of rounds done."""

    @property
    def learnt(self) -> Arrays:
        """What a model is made of, as it travels: `Setup.model` makes one of it."""

    @property
    def keepsake(self) -> Float32Array | None:
        """What has to be kept to come back to what is learnt so far; None if later stages hold it anyway."""

    def at(self, round: int, keepsake: Float32Array | None) -> Stage:
        """Return this stage with what was learnt after an earlier round, by what was kept of it."""

    def rounds(self) -> Iterator[tuple[Stage, RoundRecord]]:
        """Do the rounds that are left; a record's counts score what its round began with."""

    def evaluate(self, clients: Int64Array | None = None, edges: Float32Array | None = None) -> RoundRecord:
        """Let clients count what is learnt: if given, these, one row of counts each; else everybody.

        `edges` are those of the bins of scores, if other than the next round's.
        """

    def personalise(self, clients: Int64Array, edges: Float32Array) -> Personalised | None:
        """Let these clients make models of their own, and count them on these edges; None where the run has none."""

    def checkpoint(self, best: Float32Array | None, progress: Mapping[str, Any]) -> Checkpoint:
        """Return what a resumed run needs of it, beside the best keepsake and the progress so far."""


class Setup(Protocol):
    """Be the server's parts of a run."""

    @property
    def config(self) -> Config:
        """The configuration that the parts were made from."""

    @property
    def preparation(self) -> Preparation:
        """From raw units to features, the same at all clients."""

    @property
    def mode_names(self) -> tuple[str, ...]:
        """Names of the failure modes that clients count."""

    @property
    def target(self) -> Target:
        """What is foretold of a row."""

    @property
    def grid(self) -> Grid:
        """The grid that reaches the clients."""

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
        """Return the stage before the first round."""

    def restore(self, checkpoint: Checkpoint) -> Stage:
        """Return the stage that a checkpoint was made of.

        Raises
        ------
        CheckpointError
            If it is of another kind of run.
        """

    def model(self, learnt: Arrays, threshold: float, label: str) -> Model:
        """Return what is learnt as a model that scores raw tables.

        Parameters
        ----------
        learnt
            What a stage has learnt.
        threshold
            A row is decided positive if its probability is at least this.
        label
            Name of what the probability is about.

        Raises
        ------
        ModelError
            If the arrays hold no such model.
        """


class ClientWork(Protocol):
    """Be what clients do in a run, with the rows that are here."""

    def handlers(self) -> Mapping[Kind, Handler]:
        """Return the functions for the kinds of tasks that clients know."""


class Simulation(Setup, Protocol):
    """Be the parts of a run whose clients are all here."""

    @property
    def splits(self) -> ClientSplits:
        """The clients' prepared rows."""

    def alone(self, client: int | None) -> Simulation:
        """Return one client as a federation by itself; without a number, all rows in one place."""

    def logits(self, learnt: Arrays) -> FloatingArray:
        """Return the logits of everybody's test rows: (rows,)."""

    def work(self, numbers: Int64Array | None = None) -> ClientWork:
        """Return what clients do, with their rows as they are here.

        `numbers` are those of the clients in their federation, (clients here,); None where these are their places.
        """
