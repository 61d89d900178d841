"""Trees on rows that lie in one place: which rows lie in which node, what they sum up to, and growth without a server.

The rows of a client and of a whole cohort are alike. The rows of a tree are one index, divided at every split, so that
those of a node are one piece of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from werkbund.core.arrays import Float64Array, Int32Array, Int64Array, UInt8Array, UInt64Array
from werkbund.core.errors import ClientError
from werkbund.core.threads import even_slices, num_threads, spread
from werkbund.trees.arithmetic import (
    WORDS,
    Blocks,
    Ensemble,
    Group,
    GrowthBasis,
    Terms,
    TreePlan,
    Trees,
    accumulate,
    add_value,
    advance,
    basis_of,
    begin,
    divide,
    draw_rows,
)
from werkbund.trees.rows.table import ScoredTable, TreeTable


@dataclass
class NodeRows:
    """Keep which rows of some clients lie in which node, while a round's trees grow.

    Parameters
    ----------
    terms
        What was agreed.
    codes, columns, pairs, draws
        The cell of each value, (rows, features), and once more by features, (features, rows); gradient and hessian of
        each row, (outputs, rows, 2); and for each tree how often it counts a row, (rows,), or (0,) for once each.
    ends
        (clients + 1,), where each client's rows end among these.
    index
        (trees, rows): the rows of a node are one piece of its tree's line, ascending.
    first, last
        Where the piece of each node lies; one entry a node that is known.
    tree
        The tree of each of these nodes.
    seen
        The trees as they were followed last.
    """

    terms: Terms
    codes: UInt8Array
    columns: UInt8Array
    pairs: Int32Array
    draws: list[UInt8Array]
    ends: Int64Array
    index: Int32Array
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    tree: list[int] = field(default_factory=list)
    seen: Trees = field(default_factory=Trees.none)

    @classmethod
    def at_roots(cls, scored: ScoredTable, clients: Int64Array, row_keys: UInt64Array) -> NodeRows:
        """Return the rows at the roots of new trees, with gradients at the scores so far.

        Parameters
        ----------
        scored
            All rows that are here.
        clients
            Whose rows are meant.
        row_keys
            (trees,), the seed by which each tree draws its rows.
        """
        terms, rows = scored.agreed, scored.table.rows(clients)
        sums, targets = scored.sums[rows], scored.table.targets[rows]
        pairs = terms.objective.gradients(sums, terms.base, 0.0 if terms.forest else 1.0, targets, terms.fixed)
        drawn: dict[int, UInt8Array] = {}
        hashes = scored.hashes[rows] if terms.bootstrap or terms.row_share < 1 else np.empty(0, np.uint64)
        for key in dict.fromkeys(row_keys.tolist()):
            drawn[key] = draw_rows(hashes, key, terms.row_share, terms.bootstrap)
        ends = np.concatenate(([0], np.cumsum(scored.table.sizes[clients])))
        n, trees = len(targets), len(row_keys)
        index = np.tile(np.arange(n, dtype=np.int32), (trees, 1))
        draws = [drawn[key] for key in row_keys.tolist()]
        codes, columns = scored.codes[rows], scored.columns[:, rows]
        return cls(terms, codes, columns, pairs, draws, ends, index, [0] * trees, [n] * trees, [*range(trees)])

    def leads_to(self, trees: Trees) -> bool:
        """Say whether these are the trees that were followed so far, perhaps grown further."""
        inner = np.flatnonzero(self.seen.left >= 0)
        if len(trees) != len(self.index) or trees.num_nodes < len(self.first):
            return False
        names = ("feature", "bin", "missing_left", "left", "subset")
        return all(np.array_equal(getattr(trees, name)[inner], getattr(self.seen, name)[inner]) for name in names)

    def follow(self, trees: Trees) -> None:
        """Divide the rows of every node that has children by now.

        Raises
        ------
        ClientError
            If these are not the trees whose beginning is known.
        """
        known = len(self.first)
        _check(trees, self.index.shape[0], self.terms)
        new = np.flatnonzero(trees.left >= known)
        while len(new):  # all of a level at once; several levels only after a new start
            level = new[new < len(self.first)]
            if not len(level):
                raise ClientError("trees must hang together; the server runs other code")
            middles = self._divided(trees, level)
            for node in level.tolist():
                if int(trees.left[node]) != len(self.first):
                    raise ClientError("children must stand in the order of their parents; the server runs other code")
                self.first += [self.first[node], middles[node]]
                self.last += [middles[node], self.last[node]]
                self.tree += [self.tree[node]] * 2
            new = new[len(level) :]
        self.seen = trees

    def histograms(self, blocks: Blocks, outputs: Int32Array, least: int = 0) -> Int64Array:
        """Return the histograms of some nodes, over all these clients: (cells, 3).

        Parameters
        ----------
        blocks
            Which nodes.
        outputs
            (trees,), whose gradients each tree follows.
        least
            Cells with fewer rows of one client are left out; 0 for none.
        """
        words = np.zeros((blocks.num_cells, WORDS), np.int64)
        ends, num_features, lock = blocks.edges.tolist(), blocks.features.shape[1], Lock()
        sizes = [len(self._piece(node)) for node in blocks.nodes.tolist()]

        def count(item: tuple[int, slice]) -> None:
            i, rows = item
            target, piece = words[ends[i] : ends[i + 1]], self._piece(int(blocks.nodes[i]))[rows]
            if least > 1:
                target += self._withheld(blocks, i, piece, outputs, least)
            elif len(piece) == sizes[i]:
                self._count(blocks, i, piece, outputs, target)
            else:
                part = np.zeros_like(target)
                self._count(blocks, i, piece, outputs, part)
                with lock:
                    np.add(target, part, out=target)

        steps = float(sum(sizes)) * num_features
        threads = 1 if least > 1 else num_threads(steps)  # a node of more than a quarter of all rows is shared out
        parts = [threads if size * num_features > steps / 4 else 1 for size in sizes]
        items = [(i, rows) for i, size in enumerate(sizes) for rows in even_slices(size, parts[i])]
        spread(count, items, steps)
        return np.ascontiguousarray(words[:, :3])

    def _count(self, blocks: Blocks, i: int, rows: Int32Array, outputs: Int32Array, words: Int64Array) -> None:
        """Add rows of the i-th block's node to its histogram: (cells, WORDS)."""
        tree, starts = self.tree[blocks.nodes[i]], blocks.starts[i] - blocks.starts[i, 0]
        pairs, draws = self.pairs[outputs[tree]], self.draws[tree]
        accumulate(self.codes, pairs, draws, rows, blocks.features[i], starts, words.reshape(-1))

    def _withheld(self, blocks: Blocks, i: int, rows: Int32Array, outputs: Int32Array, least: int) -> Int64Array:
        """Return the sum of the clients' histograms of the i-th block's node, each without its cells of few rows."""
        cells = int(blocks.edges[i + 1] - blocks.edges[i])
        total = np.zeros((cells, WORDS), np.int64)
        for of_client in np.split(rows, np.searchsorted(rows, self.ends[1:-1])):
            words = np.zeros((cells, WORDS), np.int64)
            self._count(blocks, i, of_client, outputs, words)
            words[words[:, 2] < least] = 0
            total += words
        return total

    def _piece(self, node: int) -> Int32Array:
        """Return the rows of a node, ascending."""
        return self.index[self.tree[node], self.first[node] : self.last[node]]

    def _divided(self, trees: Trees, nodes: Int64Array) -> dict[int, int]:
        """Sort the rows of these nodes; return where each one's right child begins."""
        middles = dict[int, int]()

        def sort(node: int) -> None:
            piece, column = self._piece(node), self.columns[trees.feature[node]]
            left = divide(column, piece, self._goes_left(trees, node), np.empty(len(piece) + 1, np.int32))
            middles[node] = self.first[node] + left

        spread(sort, nodes.tolist(), 4.0 * sum(len(self._piece(node)) for node in nodes.tolist()))
        return middles

    def _goes_left(self, trees: Trees, node: int) -> UInt8Array:
        """Return which cells of a node's feature go left: (256,)."""
        if trees.subset[node] >= 0:
            goes = np.unpackbits(trees.subsets[trees.subset[node]], bitorder="little")
        else:
            goes = (np.arange(256) <= trees.bin[node]).astype(np.uint8)
        goes[self.terms.edges.sizes[trees.feature[node]] - 1] = trees.missing_left[node]
        return goes

    def add_leaves(self, sums: Float64Array, trees: Trees) -> None:
        """Add the leaves of the finished trees to the sums of these rows: (rows, outputs)."""
        self.follow(trees)
        outputs = trees.outputs.tolist()
        leaves = np.flatnonzero(trees.left < 0)
        by_tree = np.argsort(np.array(self.tree)[leaves], kind="stable")  # in the order in which prediction adds them
        for node in leaves[by_tree].tolist():
            add_value(sums, outputs[self.tree[node]], self._piece(node), float(trees.value[node]))


def train_trees(
    table: TreeTable, terms: Terms, plan: TreePlan, seed: int, start: Ensemble | None = None
) -> Iterator[Ensemble]:
    """Grow an ensemble on all rows of a table: the pooled model, or one party's own.

    Parameters
    ----------
    table
        The rows.
    terms
        Agreed for at least so many rows.
    plan, seed
        As in a federation; the trees are then the same, bit for bit, as those of clients that share these rows.
    start
        Trees that were grown so before; none if left out.

    Yields
    ------
    ensemble
        After each round.
    """
    scored, everyone = ScoredTable(table), np.arange(table.num_clients)
    scored.agree(terms)
    ensemble = start or terms.without_trees()
    scored.restart(everyone, ensemble, "")
    basis, width = basis_of(terms, plan), terms.num_outputs * plan.together
    for round in range(len(ensemble.trees) // width + 1, plan.rounds + 1):
        group = Group.of(seed, round, terms.num_outputs, plan.together)
        nodes, trees = _grown(scored, everyone, basis, group)
        if scored.keeps_sums:
            nodes.add_leaves(scored.sums, trees)
        ensemble = ensemble.with_trees(trees)
        yield ensemble


def grow_alone(scored: ScoredTable, clients: Int64Array, basis: GrowthBasis, group: Group) -> Trees:
    """Grow one round's trees on some clients' rows, from the scores that these have."""
    return _grown(scored, clients, basis, group)[1]


def _grown(scored: ScoredTable, clients: Int64Array, basis: GrowthBasis, group: Group) -> tuple[NodeRows, Trees]:
    nodes, growth = NodeRows.at_roots(scored, clients, group.row_keys), begin(basis, group.outputs, group.keys)
    while not growth.finished:
        nodes.follow(growth.trees)
        growth = advance(basis, growth, nodes.histograms(growth.asked, group.outputs))
    return nodes, growth.trees


def _check(trees: Trees, num_trees: int, terms: Terms) -> None:
    """Refuse trees that are not this round's or do not fit the terms."""
    if len(trees) != num_trees or trees.roots.tolist() != [*range(num_trees)]:
        raise ClientError(f"trees must be the {num_trees} of this round, roots first, got {len(trees)}")
    if (trees.feature >= terms.edges.num_features).any() or (trees.outputs >= terms.num_outputs).any():
        raise ClientError(
            f"trees must ask {terms.edges.num_features} features and add to {terms.num_outputs} scores, "
            f"got {int(trees.feature.max())} and {int(trees.outputs.max())}"
        )
