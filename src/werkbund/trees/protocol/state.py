"""What a run of trees is between two rounds, and what a round of it leaves behind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from werkbund.core.arrays import AnyArray, Float32Array, UInt8Array, under
from werkbund.core.edges import STANDARD_EDGES
from werkbund.core.errors import CheckpointError
from werkbund.core.types import RoundRecord
from werkbund.engine.checkpoint import Checkpoint
from werkbund.trees.arithmetic import Ensemble, Terms, Trees

_HELD_OUT = "held_out."
"""Before the names of splits, among a state's arrays."""

_EDGES = "score_edges"
"""Name of the edges between bins of scores, beside which the terms have edges of features."""


@dataclass(frozen=True)
class TreeState:
    """Hold all that the next round depends on; a checkpoint is this value and nothing else.

    Parameters
    ----------
    round
        Number of rounds done.
    terms
        What was agreed.
    ensemble
        The trees so far.
    mark
        Names these trees; it follows from the terms and the trees of each round.
    ends
        How many trees there were after each round; where each client grows its own, not all rounds have as many.
    held_out
        Of how many held-out rows clients' counts were so far, as `Word` has it.
    edges
        Of the bins in which the next round counts scores.
    """

    round: int
    terms: Terms
    ensemble: Ensemble
    mark: str
    ends: tuple[int, ...] = ()
    held_out: Mapping[str, AnyArray] = field(default_factory=dict)
    edges: Float32Array = field(default_factory=lambda: STANDARD_EDGES)
    kind: ClassVar[str] = "trees"

    @classmethod
    def begin(cls, terms: Terms) -> TreeState:
        """Return the state before the first round."""
        return cls(0, terms, terms.without_trees(), terms.digest())

    def next(self, trees: Trees) -> TreeState:
        """Return the state with one more round's trees."""
        mark = hashlib.blake2b((self.mark + trees.digest).encode(), digest_size=16).hexdigest()
        ensemble = self.ensemble.with_trees(trees)
        ends = (*self.ends, len(ensemble.trees))
        return replace(self, round=self.round + 1, ensemble=ensemble, mark=mark, ends=ends)

    def at(self, round: int) -> TreeState:
        """Return this state with the trees of the first rounds alone, under a mark of their own."""
        if round >= self.round:
            return self
        ensemble = self.ensemble.first(self.ends[round - 1] if round else 0)
        mark = hashlib.blake2b(f"{self.mark} first {round}".encode(), digest_size=16).hexdigest()
        return replace(self, ensemble=ensemble, mark=mark)

    def parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return JSON values, of which there are none, and named arrays."""
        return {}, dict(self.to_arrays())

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> TreeState:
        """Return the state that a checkpoint was made of.

        Raises
        ------
        CheckpointError
            If it is of another kind of run, or an array is missing.
        """
        checkpoint.check_kind(cls.kind)
        return cls.from_arrays(checkpoint.arrays)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Return named arrays."""
        head = {
            "round": np.array(self.round),
            "mark": mark_bytes(self.mark),
            "ends": np.array(self.ends, np.int64),
            _EDGES: self.edges,
        }
        held_out = {f"{_HELD_OUT}{split}": array for split, array in self.held_out.items()}
        return {**head, **self.terms.to_arrays(), **self.ensemble.to_arrays("ensemble."), **held_out}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> TreeState:
        """Return what `to_arrays` described.

        Raises
        ------
        CheckpointError
            If an array is missing.
        """
        lacking = [name for name in ("round", "mark", "ends") if name not in arrays]
        if lacking:
            raise CheckpointError(
                f"a state of trees needs the arrays round, mark and ends, got no {', '.join(lacking)}; it is of "
                "another kind of run or another version"
            )
        mark, ends = np.asarray(arrays["mark"], np.uint8).tobytes().hex(), tuple(arrays["ends"].tolist())
        ensemble = Ensemble.from_arrays(arrays, "ensemble.")
        held_out = under(_HELD_OUT, arrays)
        edges = np.asarray(arrays.get(_EDGES, STANDARD_EDGES))
        return cls(int(arrays["round"]), Terms.from_arrays(arrays), ensemble, mark, ends, held_out, edges)


@dataclass(frozen=True)
class TreeRecord:
    """Say what happened in one round.

    Parameters
    ----------
    round
        As of any other model: who was asked, who failed, counts of the trees before, payload, time. Its norms are those
        of the values of the leaves: of this round's, and of all.
    messages
        Questions that a client was asked, one after the other.
    attempts
        How often the trees were begun.
    leaves, gain
        Of this round's trees.
    """

    round: RoundRecord
    messages: int
    attempts: int
    leaves: int
    gain: float


def mark_bytes(mark: str) -> UInt8Array:
    """Return a mark as it travels."""
    return np.frombuffer(bytes.fromhex(mark), np.uint8)
