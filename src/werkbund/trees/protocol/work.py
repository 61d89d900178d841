"""What clients do for trees, for one client at a plant and a whole cohort in process alike.

A message says all that its answer depends on: which trees the scores must hold, the round's trees so far, and what is
asked of them. Cells, scores and the place of rows in the trees are kept, but only to save work: a message that comes
again gets the same answer, and a client that was started anew says that it is behind and is sent the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, BoolArray, Int64Array, UInt64Array
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.types import Replies, Tasks
from werkbund.engine.worker import Handler, forgetful
from werkbund.learner.counts import edges_of
from werkbund.trees.arithmetic import Blocks, Ensemble, Group, GrowthRules, Terms, Trees
from werkbund.trees.arithmetic.keys import count_keys, ordered_keys, parts_of
from werkbund.trees.protocol.kinds import COUNTS_WANTED, TREE_BAG, TREE_CELLS, TREE_EVALUATE, TREE_LEVEL, TREE_SURVEY
from werkbund.trees.rows.counts import count_classes, count_outputs, sum_targets
from werkbund.trees.rows.local import NodeRows, grow_alone
from werkbund.trees.rows.table import ScoredTable, TreeTable

TEXT_BYTES = 16
_MOST_INTERVALS = 2**20


@dataclass
class TreeWork:
    """Count rows for trees.

    Parameters
    ----------
    train, validation, test
        The rows of the clients that live here; a task's client number is a place in these tables.
    min_rows
        What is over fewer rows of one client does not leave it: such cells are answered as empty, and trees that a
        client grows alone have no such leaf. 0 or 1 for none. Trees are then no longer those of the pooled rows.
    draws
        Share of the rows that a tree draws, and whether it draws them by bootstrap; terms that say otherwise are
        refused, since rows drawn by two shares differ in few. None: any.
    """

    train: TreeTable
    validation: TreeTable | None = None
    test: TreeTable | None = None
    min_rows: int = 0
    draws: tuple[float, bool] | None = None
    _training: ScoredTable = field(init=False)
    _held_out: dict[str, ScoredTable] = field(init=False)
    _nodes: dict[bytes, tuple[tuple[Any, ...], NodeRows]] = field(default_factory=dict, init=False)
    """By the clients that are asked together: mark, seeds, round, and the rows in the nodes of that round's trees."""
    _ordered: tuple[tuple[bytes, bool], list[list[UInt64Array]]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._training = ScoredTable(self.train)
        tables = {"validation": self.validation, "test": self.test}
        self._held_out = {name: ScoredTable(table, always=True) for name, table in tables.items() if table is not None}

    def handlers(self) -> dict[Kind, Handler]:
        """Return the functions for the kinds that trees need."""
        return {
            TREE_CELLS: forgetful(self.cells),
            TREE_SURVEY: forgetful(self.survey),
            TREE_LEVEL: forgetful(self.level),
            TREE_EVALUATE: forgetful(self.evaluate),
            TREE_BAG: forgetful(self.bag),
        }

    def cells(self, tasks: Tasks) -> Replies:
        """Answer with the rows in each interval of each feature, and behind the features of the target.

        Raises
        ------
        ClientError
            If the intervals are not those of the features here.
        """
        intervals = _intervals(tasks, self.train.features.shape[1] + 1)
        total = np.zeros(sum(len(lows) for lows, _ in intervals), np.int64)
        least = self._least(tasks)
        for ordered in self._keys(tasks.clients, least > 1):
            counts = [count_keys(keys, *own) for keys, own in zip(ordered, intervals, strict=True)]
            rows_in = np.concatenate(counts)
            total += np.where(rows_in < least, 0, rows_in)
        rows = np.array(int(self.train.sizes[tasks.clients].sum()))
        return _answer(tasks, {"cells": total, "rows": rows})

    def survey(self, tasks: Tasks) -> Replies:
        """Answer with the rows of each class, or with the sum of the targets."""
        targets = self.train.targets[self.train.rows(tasks.clients)]
        if "classes" in tasks.shared:
            return _answer(tasks, {"classes": count_classes(targets, int(tasks.shared["classes"]))})
        lowest, width = float(tasks.shared["lowest"]), float(tasks.shared["width"])
        return _answer(tasks, {"total": np.array(sum_targets(targets, lowest, width))})

    def level(self, tasks: Tasks) -> Replies:
        """Answer with the histograms of some nodes; at the roots also with the counts of the trees so far."""
        behind = self._catch_up(tasks)
        if behind.any():
            return Replies(tasks.kind, tasks.round, tasks.clients, {}, {"behind": behind})
        self._ordered = None  # edges are agreed by now
        counts = self._counts(tasks) if COUNTS_WANTED in tasks.shared else {}
        trees = Trees.from_arrays(tasks.shared, "grown.")
        nodes = self._nodes_for(tasks, trees)
        nodes.follow(trees)
        words = nodes.histograms(self._blocks(tasks, trees), trees.outputs, self._least(tasks))
        return _answer(tasks, {"histograms": words, **counts})

    def evaluate(self, tasks: Tasks) -> Replies:
        """Answer with the counts of the trees so far."""
        behind = self._catch_up(tasks)
        if behind.any():
            return Replies(tasks.kind, tasks.round, tasks.clients, {}, {"behind": behind})
        if "each" in tasks.shared:
            return Replies(tasks.kind, tasks.round, tasks.clients, self._counts(tasks, each=True))
        return _answer(tasks, self._counts(tasks))

    def bag(self, tasks: Tasks) -> Replies:
        """Answer with one more group of trees, grown on each client's own rows alone, and the number of these rows.

        A client with fewer rows than may leave it answers as one without rows.
        """
        behind = self._catch_up(tasks)
        if behind.any():
            return Replies(tasks.kind, tasks.round, tasks.clients, {}, {"behind": behind})
        counts = self._counts(tasks) if COUNTS_WANTED in tasks.shared else {}
        terms, rules, least = self._training.agreed, GrowthRules.from_array(tasks.shared["rules"]), self._least(tasks)
        rules = replace(rules, min_child_rows=max(rules.min_child_rows, least))
        basis = terms.basis(rules)
        group = Group(tasks.shared["outputs"], tasks.shared["keys"], tasks.shared["row_keys"])
        sizes = self.train.sizes[tasks.clients]
        sizes = np.where(sizes < least, 0, sizes)
        nothing = Trees.stumps(group.outputs)
        grown = [
            grow_alone(self._training, np.array([client]), basis, group) if size else nothing
            for client, size in zip(tasks.clients.tolist(), sizes.tolist(), strict=True)
        ]
        arrays = [trees.to_arrays() for trees in grown]
        clear = {f"bag.{name}": _padded([own[name] for own in arrays]) for name in arrays[0]}
        clear |= {f"bag.{name}.length": np.array([len(own[name]) for own in arrays]) for name in arrays[0]}
        clear["rows"] = sizes
        answer = _answer(tasks, counts)
        return Replies(tasks.kind, tasks.round, tasks.clients, answer.sums, clear, pooled=answer.pooled)

    def _catch_up(self, tasks: Tasks) -> BoolArray:
        """Bring scores to the trees that a message builds on; say which clients cannot: (clients,)."""
        shared, clients = tasks.shared, tasks.clients
        mark, tables = _mark(shared["mark"]), (self._training, *self._held_out.values())
        if "terms.base" in shared:
            terms, ensemble = Terms.from_arrays(shared), Ensemble.from_arrays(shared, "ensemble.")
            if self.draws not in (None, (terms.row_share, terms.bootstrap)):
                raise ClientError("the terms of the trees draw rows in another way than the run's configuration says")
            for scored in tables:
                scored.agree(terms)
                late = clients[~scored.holds(clients, mark)]
                if len(late):
                    scored.restart(late, ensemble, mark)
        elif "last.mark" in shared:
            before = _mark(shared["last.mark"])
            last = Trees.from_arrays(shared, "last.")
            for scored in tables:
                self._add(scored, clients[scored.holds(clients, before)], last, before, mark)
        held = [scored.holds(clients, mark) for scored in tables]
        return np.asarray(~np.all(held, axis=0))

    def _add(self, scored: ScoredTable, clients: Int64Array, trees: Trees, before: str, mark: str) -> None:
        """Add a round's trees to the scores of these clients' rows, by the nodes in which they lie if that is known."""
        if not len(clients):
            return
        place, nodes = self._nodes.get(clients.tobytes(), ((), None))
        if place[:1] != (before,) or scored is not self._training:
            nodes = None
        if nodes is not None and scored.keeps_sums and nodes.leads_to(trees):
            rows = scored.table.rows(clients)
            sums = scored.sums[rows]
            nodes.add_leaves(sums, trees)
            scored.sums[rows] = sums
            scored.mark(clients, mark)
        else:
            scored.add(clients, trees, mark)

    def _nodes_for(self, tasks: Tasks, trees: Trees) -> NodeRows:
        """Return the rows in the nodes of a round's trees: as they were left, or at the roots."""
        row_keys = tasks.shared["row_keys"]
        asked, place = tasks.clients.tobytes(), (_mark(tasks.shared["mark"]), row_keys.tobytes(), tasks.round)
        before, nodes = self._nodes.get(asked, ((), None))
        roots_alone = trees.num_nodes == len(trees)
        if nodes is None or roots_alone or before != place or not nodes.leads_to(trees):
            nodes = NodeRows.at_roots(self._training, tasks.clients, row_keys)
            alone = {key: kept for key, kept in self._nodes.items() if len(key) == len(asked) == tasks.clients.itemsize}
            self._nodes = {**alone, asked: (place, nodes)}  # of each alone, or of those that are asked together
        return nodes

    def _blocks(self, tasks: Tasks, trees: Trees) -> Blocks:
        nodes, edges = tasks.shared["asked"].astype(np.int64), self._training.agreed.edges
        if "features" in tasks.shared:
            features = tasks.shared["features"].astype(np.int64)
        else:
            features = np.tile(np.arange(edges.num_features), (len(nodes), 1))
        wrong = features.ndim != 2 or len(features) != len(nodes) or not len(nodes)
        if wrong or (features < 0).any() or (features >= edges.num_features).any():
            raise ClientError(f"features asked must be (nodes, m), each in 0..{edges.num_features - 1}")
        if (nodes < 0).any() or (nodes >= trees.num_nodes).any():
            raise ClientError(f"nodes asked must be among the {trees.num_nodes} of the trees so far")
        return Blocks.lay(nodes, features, edges.sizes)

    def _counts(self, tasks: Tasks, each: bool = False) -> Arrays:
        """Return what the trees so far score on held-out rows: of all these clients together, or a row for each."""
        counts: dict[str, AnyArray] = {}
        for split, scored in self._held_out.items():
            terms, table = scored.agreed, scored.table
            part = table if len(tasks) == table.num_clients else table.take(tasks.clients)
            factor = terms.num_outputs / max(int(tasks.shared["num_trees"]), 1) if terms.forest else 1.0
            scores = terms.base + factor * scored.sums[scored.table.rows(tasks.clients)]
            offsets = part.offsets if each else part.offsets[[0, -1]]
            own = count_outputs(terms.objective, terms.forest, scores, part, offsets, edges_of(tasks))
            counts |= {f"{split}.{name}": array if each else array[0] for name, array in own.items()}
        return counts

    def _least(self, tasks: Tasks) -> int:
        """Return the fewest rows of one client that may leave it: the higher of its own limit and the task's."""
        return max(self.min_rows, int(tasks.shared.get("least", 0)))

    def _keys(self, clients: Int64Array, each: bool) -> list[list[UInt64Array]]:
        """Return the ordered keys of each column: of all these clients together, or of each of them."""
        place = (clients.tobytes(), each)
        if self._ordered is None or self._ordered[0] != place:
            parts = [clients[i : i + 1] for i in range(len(clients))] if each else [clients]
            self._ordered = (place, [self._columns(part) for part in parts])
        return self._ordered[1]

    def _columns(self, clients: Int64Array) -> list[UInt64Array]:
        rows = self.train.rows(clients)
        return [*ordered_keys(self.train.features[rows]), *ordered_keys(self.train.targets[rows, None])]


def _intervals(tasks: Tasks, columns: int) -> list[tuple[UInt64Array, UInt64Array]]:
    """Return the intervals that are asked of each column."""
    lows, highs = (np.asarray(tasks.shared[name], np.uint64) for name in ("lows", "highs"))
    cuts, parts = tasks.shared["cuts"], tasks.shared["parts"]
    if len(cuts) != columns or len(parts) != columns or not len(lows) == len(highs) == cuts.sum():
        raise ClientError(f"intervals must be those of {columns - 1} features and the target, got {len(cuts)}")
    if (parts < 1).any() or (highs < lows).any() or (cuts < 0).any() or int((cuts * parts).max()) > _MOST_INTERVALS:
        raise ClientError(f"intervals must rise and be at most {_MOST_INTERVALS} of a feature")
    ends = np.cumsum([0, *cuts.tolist()])
    return [parts_of(lows[a:b], highs[a:b], int(n)) for a, b, n in zip(ends[:-1], ends[1:], parts, strict=True)]


def _answer(tasks: Tasks, sums: Arrays) -> Replies:
    """Return sums over all these clients: as one client's row, or added already."""
    if len(tasks) == 1:
        return Replies(tasks.kind, tasks.round, tasks.clients, {name: array[None] for name, array in sums.items()})
    return Replies(tasks.kind, tasks.round, tasks.clients, pooled=sums)


def _padded(arrays: list[AnyArray]) -> AnyArray:
    longest = max(map(len, arrays))
    rows = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, own in zip(rows, arrays, strict=True):
        row[: len(own)] = own
    return rows


def _mark(array: AnyArray) -> str:
    if array.dtype != np.uint8 or array.shape != (TEXT_BYTES,):
        raise ClientError(f"a mark must be {TEXT_BYTES} bytes, got {array.dtype} {array.shape}")
    return array.tobytes().hex()
