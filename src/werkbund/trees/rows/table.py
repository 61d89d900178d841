"""What a client keeps while trees are grown: its rows, their cells, and the sums of leaves that they have reached.

Everything here can be made anew from the rows, the terms and the trees: a client that was started again asks for
these and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array, UInt8Array, UInt64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import DataError
from werkbund.core.target import FAILURE, Target
from werkbund.trees.arithmetic import Ensemble, Terms, Trees, leaf_sums, row_hashes
from werkbund.trees.arithmetic.objectives import MOST_TARGET


@dataclass(frozen=True)
class TreeTable:
    """Hold rows for trees, those of client `i` at `offsets[i]:offsets[i + 1]`.

    Parameters
    ----------
    offsets
        (clients + 1,), rising from 0 to the number of rows.
    features
        (rows, features), float64, raw prepared values; NaN where missing. A level of a category is its number.
    targets
        (rows,), float64: the class, 0, 1, ..., or the number to be predicted.
    modes
        (rows, modes), bool: which failure modes a row has. For evaluation alone.
    target
        What is foretold; of a number, `targets` are true risks.
    """

    offsets: Int64Array
    features: Float64Array
    targets: Float64Array
    modes: BoolArray
    target: Target = FAILURE

    def __post_init__(self) -> None:
        rows, ends = len(self.features), self.offsets
        if len(ends) < 1 or ends[0] != 0 or ends[-1] != rows or (np.diff(ends) < 0).any():
            raise DataError(f"offsets must rise from 0 to {rows}, got {ends[:5]}...")
        if self.features.ndim != 2 or self.targets.shape != (rows,) or self.modes.shape[:1] != (rows,):
            raise DataError(
                f"features, targets and modes must have {rows} rows, "
                f"got {self.features.shape}, {self.targets.shape}, {self.modes.shape}"
            )
        if np.isnan(self.targets).any():
            raise DataError("targets must be numbers; leave out rows whose target is missing")
        far = np.abs(self.targets) > MOST_TARGET
        if far.any():
            raise DataError(
                f"targets must be within {MOST_TARGET:g} of 0, got {self.targets[far][0]:g} and {int(far.sum()) - 1} "
                "more beyond; give them in a larger unit, or leave out rows without a true value"
            )

    @classmethod
    def build(cls, features: npt.ArrayLike, targets: npt.ArrayLike, offsets: npt.ArrayLike | None = None) -> TreeTable:
        """Return a table without modes; of one client, unless offsets are given."""
        x = np.ascontiguousarray(features, np.float64)
        ends = np.array([0, len(x)] if offsets is None else offsets, np.int64)
        return cls(ends, x, np.ascontiguousarray(targets, np.float64), np.zeros((len(x), 0), np.bool_))

    @classmethod
    def of(cls, table: ClientTable) -> TreeTable:
        """Return the rows of a table of prepared rows."""
        targets = table.followed.astype(np.float64)
        return cls(table.offsets, table.features.astype(np.float64), targets, table.modes, table.target)

    @property
    def num_clients(self) -> int:
        """Number of clients, those without a row included."""
        return len(self.offsets) - 1

    @cached_property
    def sizes(self) -> Int64Array:
        """Number of rows of each client: (clients,)."""
        return np.diff(self.offsets)

    def rows(self, clients: Int64Array) -> Int64Array | slice:
        """Return where the rows of some clients lie: a slice if they lie together."""
        if len(clients) and (np.diff(clients) == 1).all():
            return slice(int(self.offsets[clients[0]]), int(self.offsets[clients[-1] + 1]))
        sizes = self.sizes[clients]
        ends = np.cumsum(sizes)
        return np.asarray(np.arange(int(sizes.sum())) + np.repeat(self.offsets[clients] - (ends - sizes), sizes))

    def take(self, clients: Int64Array) -> TreeTable:
        """Return the table of some clients alone, in this order."""
        rows, ends = self.rows(clients), np.concatenate(([0], np.cumsum(self.sizes[clients])))
        return TreeTable(ends, self.features[rows], self.targets[rows], self.modes[rows], self.target)


@dataclass
class ScoredTable:
    """Keep what clients know of the trees: the terms, and what these and the trees make of each row.

    Parameters
    ----------
    table
        Their rows.
    always
        Keep the sums of a forest too, whose gradients do not need them.
    marks
        (clients,), which trees each client's sums hold, by the server's word; empty for none.
    sums
        (rows, outputs), sums of the leaves that each row reaches.
    terms
        What was agreed; None before that.
    """

    table: TreeTable
    always: bool = False
    marks: list[str] = field(default_factory=list)
    sums: Float64Array = field(default_factory=lambda: np.empty((0, 0)))
    terms: Terms | None = None
    _digest: str = ""
    _codes: UInt8Array | None = None
    _columns: UInt8Array | None = None
    _hashes: UInt64Array | None = None

    def agree(self, terms: Terms) -> None:
        """Take new terms; whatever was known under others is forgotten."""
        digest = terms.digest()
        if digest == self._digest:
            return
        self.terms, self._digest, self._codes, self._columns = terms, digest, None, None
        self.marks = [""] * self.table.num_clients
        self.sums = np.zeros((len(self.table.features), terms.num_outputs))

    def restart(self, clients: Int64Array, ensemble: Ensemble, mark: str) -> None:
        """Score these clients' rows by a whole ensemble, which `mark` names."""
        if self.keeps_sums:
            rows = self.table.rows(clients)
            self.sums[rows] = leaf_sums(ensemble.trees, ensemble.num_outputs, self.table.features[rows])
        self.mark(clients, mark)

    def add(self, clients: Int64Array, trees: Trees, mark: str) -> None:
        """Add trees to the sums of these clients' rows; `mark` names all trees with these."""
        if self.keeps_sums:
            rows = self.table.rows(clients)
            self.sums[rows] = leaf_sums(trees, self.sums.shape[1], self.table.features[rows], self.sums[rows])
        self.mark(clients, mark)

    def mark(self, clients: Int64Array, mark: str) -> None:
        """Note which trees these clients' sums hold."""
        for client in clients.tolist():
            self.marks[client] = mark

    def holds(self, clients: Int64Array, mark: str) -> BoolArray:
        """Say of each client whether its sums hold just these trees: (clients,)."""
        if self.terms is None:
            return np.zeros(len(clients), np.bool_)
        return np.array([self.marks[client] == mark for client in clients.tolist()], np.bool_)

    @property
    def keeps_sums(self) -> bool:
        """Whether sums are kept: gradients of a forest do not see them."""
        return self.always or not self.agreed.forest

    @property
    def codes(self) -> UInt8Array:
        """The cell of each value: (rows, features)."""
        if self._codes is None:
            self._codes = self.agreed.edges.encode(self.table.features)
        return self._codes

    @property
    def columns(self) -> UInt8Array:
        """The same cells by features: (features, rows)."""
        if self._columns is None:
            self._columns = np.ascontiguousarray(self.codes.T)
        return self._columns

    @property
    def hashes(self) -> UInt64Array:
        """A hash of each row: (rows,)."""
        if self._hashes is None:
            self._hashes = row_hashes(self.table.features, self.table.targets)
        return self._hashes

    @property
    def agreed(self) -> Terms:
        """The terms, once `agree` has been called."""
        assert self.terms is not None, "agree comes first"  # noqa: S101 - guaranteed by the callers in this project
        return self.terms
