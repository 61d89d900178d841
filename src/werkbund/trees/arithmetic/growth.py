"""The growth of some trees at once, level by level, from sums alone: what the server does, without a server.

`begin` says of which nodes histograms are wanted; `advance` takes them, splits, and says of which next. Of two children
only the smaller is counted; the other is what their parent's histogram leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array, UInt64Array
from werkbund.core.rng import mix
from werkbund.trees.arithmetic.ensemble import Trees
from werkbund.trees.arithmetic.histograms import Blocks
from werkbund.trees.arithmetic.rules import Ground
from werkbund.trees.arithmetic.sampling import draw_features
from werkbund.trees.arithmetic.splits import Histograms, Splits, best_splits, child_bounds, newton_steps, with_unknown

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


def begin(ground: Ground, outputs: npt.ArrayLike, keys: UInt64Array) -> Growth:
    """Return trees that are roots alone.

    Parameters
    ----------
    ground
        What stays the same.
    outputs
        (trees,), to which score each adds.
    keys
        (trees,), seed of each.
    """
    trees, n, features = Trees.stumps(outputs), len(keys), ground.edges.num_features
    most = max(1, int(np.ceil(ground.rules.tree_features * features - 1e-9)))
    own = draw_features(keys, features, most)
    roots = np.arange(n)
    bounds = np.tile([-np.inf, np.inf], (n, 1))
    ones = np.ones(n, np.uint64)
    growth = Growth(trees, keys, own, roots, ones, np.zeros((n, 3), np.int64), bounds, _nobody(), roots)
    return _ask(ground, growth, roots)


def advance(ground: Ground, growth: Growth, words: Int64Array) -> Growth:
    """Return the trees one level deeper.

    Parameters
    ----------
    ground
        What stays the same.
    growth
        Trees that are not finished.
    words
        (cells, 3), the histograms that were asked, summed over all clients.
    """
    growth = _rooted(ground, growth, words) if growth.parents is None else growth
    blocks, full = _completed(ground, growth, words)
    opened = blocks.nodes
    histograms = Histograms(full, blocks.features, blocks.starts, growth.totals[opened], growth.bounds[opened])
    splits = best_splits(histograms, ground.traits, ground.limits, _cuts(ground, growth, blocks))
    made = _made(ground, growth, opened, splits)
    grown = _split(ground, growth, opened[made], splits, made)
    children = grown.trees.left[opened[made]].astype(np.int64)
    able = _able(ground, grown) if growth.depth + 1 < ground.rules.max_depth else np.zeros(len(grown.owner), np.bool_)
    pairs = children[able[children] | able[children + 1]]
    deeper = replace(grown, depth=growth.depth + 1, parents=(blocks, full))
    if not ground.rules.subtracts:
        both = np.sort(np.concatenate([pairs, pairs + 1]))
        wanted = both[able[both]]
        return _ask(ground, replace(deeper, open=wanted), wanted)
    smaller = pairs + (grown.totals[pairs + 1, 2] < grown.totals[pairs, 2])
    return _ask(ground, replace(deeper, open=np.sort(np.concatenate([pairs, pairs + 1]))), smaller)


def _nobody() -> Blocks:
    empty = np.empty((0, 0), np.int64)
    return Blocks(np.empty(0, np.int64), empty, empty, 0)


def _ask(ground: Ground, growth: Growth, nodes: Int64Array) -> Growth:
    if not len(nodes):
        return replace(growth, asked=_nobody(), open=nodes, parents=None)
    return replace(growth, asked=Blocks.lay(nodes, _features(ground, growth, nodes), ground.edges.sizes))


def _features(ground: Ground, growth: Growth, nodes: Int64Array) -> Int64Array:
    """Return the features that each node may ask: (nodes, m)."""
    own = growth.tree_features[growth.owner[nodes]]
    if ground.rules.node_features == 1:
        return own
    most = max(1, int(np.ceil(ground.rules.node_features * own.shape[1] - 1e-9)))
    chosen = draw_features(_node_keys(growth, nodes, _NODE), own.shape[1], most)
    return np.take_along_axis(own, chosen, axis=1)


def _node_keys(growth: Growth, nodes: Int64Array, salt: np.uint64) -> UInt64Array:
    """Return a key a node, from its tree and its path: a tree grows alike, whoever grows beside it."""
    return mix(growth.keys[growth.owner[nodes]] ^ salt) ^ mix(growth.paths[nodes])


def _cuts(ground: Ground, growth: Growth, blocks: Blocks) -> UInt64Array:
    if not ground.rules.random_cuts:
        return np.empty((0, 0), np.uint64)
    base = _node_keys(growth, blocks.nodes, _CUT)
    return mix(base[:, None] + mix(blocks.features.astype(np.uint64) + np.uint64(1)))


def _rooted(ground: Ground, growth: Growth, words: Int64Array) -> Growth:
    """Return the trees with the roots' sums and values, which are those of any of their features."""
    first = growth.asked.starts[:, 0]
    last = first + ground.edges.sizes[growth.asked.features[:, 0]]
    totals = np.stack([words[a:b].sum(axis=0) for a, b in zip(first, last, strict=True)])
    values = ground.rules.learning_rate * newton_steps(ground.limits, totals, growth.bounds)
    return replace(growth, totals=totals, trees=replace(growth.trees, value=values, rows=totals[:, 2].copy()))


def _completed(ground: Ground, growth: Growth, words: Int64Array) -> tuple[Blocks, Int64Array]:
    """Return the histograms of all open nodes: those that came, and what their parents' leave beside them."""
    if growth.parents is None or not ground.rules.subtracts:
        return growth.asked, words
    above, parents = growth.parents
    blocks = Blocks.lay(growth.open, _features(ground, growth, growth.open), ground.edges.sizes)
    full = np.empty((blocks.num_cells, 3), np.int64)
    ends, came, old = blocks.edges, growth.asked.edges, above.edges
    parent = {int(growth.trees.left[node]): i for i, node in enumerate(above.nodes.tolist())}
    for pair, node in enumerate(growth.asked.nodes.tolist()):
        left = int(growth.open[2 * pair])
        i, j = (2 * pair, 2 * pair + 1) if node == left else (2 * pair + 1, 2 * pair)
        small, p = words[came[pair] : came[pair + 1]], parent[left]
        full[ends[i] : ends[i + 1]] = small
        np.subtract(parents[old[p] : old[p + 1]], small, out=full[ends[j] : ends[j + 1]])
    return blocks, full


def _made(ground: Ground, growth: Growth, opened: Int64Array, splits: Splits) -> Int64Array:
    """Return which of the open nodes are split, ascending."""
    able = np.flatnonzero(splits.gain > 0)
    if not ground.rules.max_leaves:
        return able
    room = ground.rules.max_leaves - _leaves(growth)
    order = able[np.lexsort((able, -splits.gain[able]))]
    owner = growth.owner[opened[order]]
    rank = np.zeros(len(order), np.int64)
    for tree in np.unique(owner):
        mine = owner == tree
        rank[mine] = np.arange(int(mine.sum()))
    return np.sort(order[rank < room[owner]])


def _split(ground: Ground, growth: Growth, nodes: Int64Array, splits: Splits, made: Int64Array) -> Growth:
    """Return the trees with these nodes split."""
    n, trees = len(nodes), growth.trees
    left = trees.num_nodes + 2 * np.arange(n)
    sums = np.empty((2 * n, 3), np.int64)
    sums[0::2], sums[1::2] = splits.left[made], growth.totals[nodes] - splits.left[made]
    signs = ground.traits.signs[splits.feature[made]]
    bounds = child_bounds(ground.limits, signs, growth.bounds[nodes], sums)
    values = ground.rules.learning_rate * newton_steps(ground.limits, sums, bounds)
    named = splits.bin[made] < 0
    subset = np.where(named, len(trees.subsets) + np.cumsum(named) - 1, -1)
    subsets = with_unknown(ground.edges.levels, splits, made[named])
    cuts = zip(splits.feature[made].tolist(), splits.bin[made].tolist(), strict=True)
    thresholds = [ground.edges.threshold(f, b) if b >= 0 else 0.0 for f, b in cuts]
    changed = {
        "feature": splits.feature[made],
        "bin": splits.bin[made],
        "threshold": thresholds,
        "missing_left": splits.missing_left[made],
        "subset": subset,
        "left": left,
        "gain": splits.gain[made],
    }
    leaves = Trees.stumps(np.empty(0, np.int32), 2 * n)
    wider = {
        name: np.concatenate([getattr(trees, name), getattr(leaves, name)]) for name in (*changed, "value", "rows")
    }
    for name, values_of in changed.items():
        wider[name][nodes] = values_of
    wider["value"][trees.num_nodes :], wider["rows"][trees.num_nodes :] = values, sums[:, 2]
    return replace(
        growth,
        trees=replace(trees, **wider, subsets=np.concatenate([trees.subsets, subsets])),
        owner=np.concatenate([growth.owner, np.repeat(growth.owner[nodes], 2)]),
        paths=np.concatenate([growth.paths, np.repeat(growth.paths[nodes] * _TWO, 2) + np.tile(_SIDES, n)]),
        totals=np.concatenate([growth.totals, sums]),
        bounds=np.concatenate([growth.bounds, bounds]),
    )


def _able(ground: Ground, growth: Growth) -> BoolArray:
    """Say of each node whether its sums could give two children, and its tree may have more leaves: (nodes,)."""
    limits, most = ground.limits, ground.rules.max_leaves
    rows = growth.totals[:, 2] >= 2 * max(limits.min_rows, 1)
    weight = growth.totals[:, 1] * limits.hessian_step >= 2 * limits.min_weight
    full = np.zeros(len(growth.keys), np.bool_) if not most else _leaves(growth) >= most
    return np.asarray(rows & weight & ~full[growth.owner])


def _leaves(growth: Growth) -> Int64Array:
    return np.bincount(growth.owner[growth.trees.left < 0], minlength=len(growth.keys))
