"""The growth of some trees at once, level by level, from sums alone: what the server does, without a server.

`begin` says of which nodes histograms are wanted; `advance` takes them, splits, and says of which next. Of two children
only the smaller is counted; the other is what their parent's histogram leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array, UInt8Array, UInt64Array
from werkbund.core.rng import mix
from werkbund.trees.arithmetic.ensemble import Trees
from werkbund.trees.arithmetic.histograms import Blocks
from werkbund.trees.arithmetic.rules import GrowthBasis
from werkbund.trees.arithmetic.sampling import draw_features
from werkbund.trees.arithmetic.splits import Histograms, Limits, Splits, best_splits

_TWO, _SIDES = np.uint64(2), np.array([0, 1], np.uint64)
_NODE, _CUT = np.uint64(0xD1B54A32D192ED03), np.uint64(0x8CB92BA72F3D8DD7)


@dataclass(frozen=True)
class Growth:
    """Hold trees while they grow.

    Parameters
    ----------
    trees
        As they are so far.
    keys
        (trees,), seed of each tree.
    tree_features
        (trees, m), the features that each tree may ask.
    owner, paths, totals, bounds
        (nodes,), (nodes,), (nodes, 3), (nodes, 2): a node's tree, its place in a full binary tree whose root is 1, its
        sums, and between which its value must stay.
    asked
        The histograms that are wanted next.
    open
        (k,), nodes that the next histograms may split.
    parents
        The histograms' blocks of the level before, their nodes' features and words; None at the roots.
    depth
        Levels done.
    """

    trees: Trees
    keys: UInt64Array
    tree_features: Int64Array
    owner: Int64Array
    paths: UInt64Array
    totals: Int64Array
    bounds: Float64Array
    asked: Blocks
    open: Int64Array
    parents: tuple[Blocks, Int64Array] | None = None
    depth: int = 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask."""
        return len(self.open) == 0

    def ended(self) -> Growth:
        """Return the trees as they are: nodes that were still to be split are leaves."""
        return replace(self, asked=Blocks.none(), open=self.open[:0], parents=None)


def begin(basis: GrowthBasis, outputs: npt.ArrayLike, keys: UInt64Array) -> Growth:
    """Return trees that are roots alone.

    Parameters
    ----------
    basis
        What stays the same.
    outputs
        (trees,), to which score each adds.
    keys
        (trees,), seed of each.
    """
    n, features = len(keys), basis.edges.num_features
    roots = np.arange(n)
    growth = Growth(
        trees=Trees.stumps(outputs),
        keys=keys,
        tree_features=draw_features(keys, features, _share(basis.rules.tree_features, features)),
        owner=roots,
        paths=np.ones(n, np.uint64),
        totals=np.zeros((n, 3), np.int64),
        bounds=np.tile(basis.leaf_range, (n, 1)),
        asked=Blocks.none(),
        open=roots,
    )
    return _ask(basis, growth, roots)


def advance(basis: GrowthBasis, growth: Growth, words: Int64Array) -> Growth:
    """Return the trees one level deeper.

    Parameters
    ----------
    basis
        What stays the same.
    growth
        Trees that are not finished.
    words
        (cells, 3), the histograms that were asked, summed over all clients.
    """
    growth = _with_root_sums(basis, growth, words) if growth.parents is None else growth
    blocks, full = _open_histograms(basis, growth, words)
    nodes = blocks.nodes
    histograms = Histograms(full, blocks.features, blocks.starts, growth.totals[nodes], growth.bounds[nodes])
    splits = best_splits(histograms, basis.traits, basis.limits, _cut_draws(basis, growth, blocks))
    chosen = _chosen(basis, growth, nodes, splits.gain)
    grown = _split(basis, growth, nodes[chosen], splits.take(chosen))
    deeper = replace(grown, depth=growth.depth + 1, parents=(blocks, full))
    return _ask_children(basis, deeper, grown.trees.left[nodes[chosen]].astype(np.int64))


def _ask_children(basis: GrowthBasis, growth: Growth, left: Int64Array) -> Growth:
    """Return the trees with the histograms that the next level needs, of the children that may be split.

    Parameters
    ----------
    basis
        What stays the same.
    growth
        Trees whose last level was split.
    left
        (splits,), each split's left child.
    """
    divisible = _divisible(basis, growth)
    pairs = left[divisible[left] | divisible[left + 1]]
    both = np.sort(np.concatenate([pairs, pairs + 1]))
    if not basis.rules.subtracts:
        wanted = both[divisible[both]]
        return _ask(basis, replace(growth, open=wanted), wanted)
    smaller = pairs + (growth.totals[pairs + 1, 2] < growth.totals[pairs, 2])
    return _ask(basis, replace(growth, open=both), smaller)


def _ask(basis: GrowthBasis, growth: Growth, nodes: Int64Array) -> Growth:
    """Return the trees with the histograms of these nodes wanted next; without nodes they are finished."""
    if not len(nodes):
        return replace(growth, asked=Blocks.none(), open=nodes, parents=None)
    return replace(growth, asked=Blocks.lay(nodes, _features(basis, growth, nodes), basis.edges.sizes))


def _features(basis: GrowthBasis, growth: Growth, nodes: Int64Array) -> Int64Array:
    """Return the features that each node may ask: (nodes, m)."""
    of_tree = growth.tree_features[growth.owner[nodes]]
    if basis.rules.node_features == 1:
        return of_tree
    most = _share(basis.rules.node_features, of_tree.shape[1])
    places = draw_features(_node_keys(growth, nodes, _NODE), of_tree.shape[1], most)
    return np.take_along_axis(of_tree, places, axis=1)


def _share(share: float, number: int) -> int:
    """Return this share of so many features, rounded up, at least 1."""
    return max(1, int(np.ceil(share * number - 1e-9)))


def _node_keys(growth: Growth, nodes: Int64Array, salt: np.uint64) -> UInt64Array:
    """Return a key a node, from its tree and its path: a tree grows alike, whoever grows beside it."""
    return mix(growth.keys[growth.owner[nodes]] ^ salt) ^ mix(growth.paths[nodes])


def _cut_draws(basis: GrowthBasis, growth: Growth, blocks: Blocks) -> UInt64Array:
    """Return the random numbers that choose thresholds: (nodes, m), or (0, 0) where all are tried."""
    if not basis.rules.random_cuts:
        return np.empty((0, 0), np.uint64)
    base = _node_keys(growth, blocks.nodes, _CUT)
    return mix(base[:, None] + mix(blocks.features.astype(np.uint64) + np.uint64(1)))


def _with_root_sums(basis: GrowthBasis, growth: Growth, words: Int64Array) -> Growth:
    """Return the trees with the roots' sums and values: those of any feature, or of the one that most rows tell."""
    starts = growth.asked.starts
    sums = np.add.reduceat(words, starts.reshape(-1)).reshape(*starts.shape, 3)
    totals = sums[np.arange(len(sums)), sums[:, :, 2].argmax(axis=1)]
    values = basis.rules.learning_rate * _newton_steps(basis.limits, totals, growth.bounds)
    return replace(growth, totals=totals, trees=replace(growth.trees, value=values, rows=totals[:, 2].copy()))


def _open_histograms(basis: GrowthBasis, growth: Growth, words: Int64Array) -> tuple[Blocks, Int64Array]:
    """Return the histograms of all open nodes: those that came, and what these leave of their parents'."""
    if growth.parents is None or not basis.rules.subtracts:
        return growth.asked, words
    above, parents = growth.parents
    blocks = Blocks.lay(growth.open, _features(basis, growth, growth.open), basis.edges.sizes)
    full = np.empty((blocks.num_cells, 3), np.int64)
    ends, counted_ends, parent_ends = blocks.edges, growth.asked.edges, above.edges
    parent_of = {int(growth.trees.left[node]): block for block, node in enumerate(above.nodes.tolist())}
    for pair, node in enumerate(growth.asked.nodes.tolist()):
        left = int(growth.open[2 * pair])
        counted, sibling = (2 * pair, 2 * pair + 1) if node == left else (2 * pair + 1, 2 * pair)
        own, parent = words[counted_ends[pair] : counted_ends[pair + 1]], parent_of[left]
        whole = parents[parent_ends[parent] : parent_ends[parent + 1]]
        full[ends[counted] : ends[counted + 1]] = own
        np.subtract(whole, own, out=full[ends[sibling] : ends[sibling + 1]])
    return blocks, full


def _chosen(basis: GrowthBasis, growth: Growth, nodes: Int64Array, gain: Float64Array) -> Int64Array:
    """Return which of the open nodes are split, as places among them, ascending: of each tree those that gain most."""
    useful = np.flatnonzero(gain > 0)
    if not basis.rules.max_leaves:
        return useful
    room = basis.rules.max_leaves - _leaves(growth)
    order = useful[np.lexsort((useful, -gain[useful]))]
    owner = growth.owner[nodes[order]]
    rank = np.zeros(len(order), np.int64)
    for tree in np.unique(owner):
        of_tree = owner == tree
        rank[of_tree] = np.arange(int(of_tree.sum()))
    return np.sort(order[rank < room[owner]])


def _split(basis: GrowthBasis, growth: Growth, nodes: Int64Array, splits: Splits) -> Growth:
    """Return the trees with these nodes split; the children stand behind all nodes, in the order of their parents."""
    n = len(nodes)
    sums = np.empty((2 * n, 3), np.int64)
    sums[0::2], sums[1::2] = splits.left, growth.totals[nodes] - splits.left
    bounds = _child_bounds(basis.limits, basis.traits.signs[splits.feature], growth.bounds[nodes], sums)
    values = basis.rules.learning_rate * _newton_steps(basis.limits, sums, bounds)
    return replace(
        growth,
        trees=_widened(basis, growth.trees, nodes, splits, values, sums[:, 2]),
        owner=np.concatenate([growth.owner, np.repeat(growth.owner[nodes], 2)]),
        paths=np.concatenate([growth.paths, np.repeat(growth.paths[nodes] * _TWO, 2) + np.tile(_SIDES, n)]),
        totals=np.concatenate([growth.totals, sums]),
        bounds=np.concatenate([growth.bounds, bounds]),
    )


def _widened(
    basis: GrowthBasis, trees: Trees, nodes: Int64Array, splits: Splits, values: Float64Array, rows: Int64Array
) -> Trees:
    """Return the trees' arrays with these splits, and with children of these values and rows."""
    by_levels = splits.bin < 0
    cuts = zip(splits.feature.tolist(), splits.bin.tolist(), strict=True)
    changed = {
        "feature": splits.feature,
        "bin": splits.bin,
        "threshold": [basis.edges.threshold(f, b) if b >= 0 else 0.0 for f, b in cuts],
        "missing_left": splits.missing_left,
        "subset": np.where(by_levels, len(trees.subsets) + np.cumsum(by_levels) - 1, -1),
        "left": trees.num_nodes + 2 * np.arange(len(nodes)),
        "gain": splits.gain,
    }
    leaves = Trees.stumps(np.empty(0, np.int32), len(rows))
    wider = {
        name: np.concatenate([getattr(trees, name), getattr(leaves, name)]) for name in (*changed, "value", "rows")
    }
    for name, of_nodes in changed.items():
        wider[name][nodes] = of_nodes
    wider["value"][trees.num_nodes :], wider["rows"][trees.num_nodes :] = values, rows
    subsets = _with_unknown(basis.edges.levels, splits.take(np.flatnonzero(by_levels)))
    return replace(trees, **wider, subsets=np.concatenate([trees.subsets, subsets]))


def _divisible(basis: GrowthBasis, growth: Growth) -> BoolArray:
    """Say of each node whether its sums could give two children, and its tree may be deeper and have more leaves."""
    limits, most = basis.limits, basis.rules.max_leaves
    if growth.depth >= basis.rules.max_depth:
        return np.zeros(len(growth.owner), np.bool_)
    rows = growth.totals[:, 2] >= 2 * max(limits.min_rows, 1)
    weight = growth.totals[:, 1] * limits.hessian_step >= 2 * limits.min_weight
    full = np.zeros(len(growth.keys), np.bool_) if not most else _leaves(growth) >= most
    return np.asarray(rows & weight & ~full[growth.owner])


def _leaves(growth: Growth) -> Int64Array:
    """Return how many leaves each tree has: (trees,)."""
    return np.bincount(growth.owner[growth.trees.left < 0], minlength=len(growth.keys))


def _newton_steps(limits: Limits, sums: Int64Array, bounds: Float64Array) -> Float64Array:
    """Return the value of each node, within its bounds: (nodes,).

    Parameters
    ----------
    limits
        Units of the sums, and the penalty.
    sums
        (nodes, 3), gradient, hessian and rows.
    bounds
        (nodes, 2)
    """
    below = sums[:, 1] * limits.hessian_step + limits.l2
    free = np.divide(-sums[:, 0] * limits.gradient_step, below, out=np.zeros(len(sums)), where=below > 0)
    return np.asarray(np.clip(free, bounds[:, 0], bounds[:, 1]) + 0.0)


def _child_bounds(limits: Limits, signs: Int64Array, bounds: Float64Array, sums: Int64Array) -> Float64Array:
    """Return between which the children's values must stay: below and above the middle of both, where a sign says so.

    Parameters
    ----------
    limits
        Units of the sums, and the penalty.
    signs
        (splits,), of the feature that a split asks.
    bounds
        (splits, 2), of the parents.
    sums
        (2 * splits, 3), of the children, left and right in turn.

    Returns
    -------
    bounds
        (2 * splits, 2)
    """
    own = np.repeat(bounds, 2, axis=0)
    if not signs.any():
        return own
    values = _newton_steps(limits, sums, own)
    middle = (values[0::2] + values[1::2]) / 2
    rising, falling = signs > 0, signs < 0
    own[0::2][rising, 1] = own[1::2][rising, 0] = middle[rising]
    own[0::2][falling, 0] = own[1::2][falling, 1] = middle[falling]
    return own


def _with_unknown(levels: Int64Array, splits: Splits) -> UInt8Array:
    """Return the subsets of splits by levels: a level that was not agreed goes where missing values go.

    Parameters
    ----------
    levels
        (features,), how many levels were agreed of each.
    splits
        By levels alone.

    Returns
    -------
    subsets
        (splits, 32), a bit a level, lowest bit first.
    """
    unknown = np.arange(256)[None, :] >= levels[splits.feature][:, None]
    bits = np.unpackbits(splits.subsets, axis=1, bitorder="little").astype(np.bool_)
    return np.packbits(bits | (unknown & splits.missing_left[:, None]), axis=1, bitorder="little")
