"""Tree arithmetic alone: bins, fixed point, histograms, splits, growth, prediction, contributions."""

from werkbund.trees.cells import Cells, keys_of
from werkbund.trees.contributions import contributions
from werkbund.trees.edges import MOST_BINS, BinEdges, even_edges
from werkbund.trees.ensemble import Ensemble, Trees, importance
from werkbund.trees.fixed import FixedPoint
from werkbund.trees.ground import Blocks, Ground
from werkbund.trees.growth import Growth, advance, begin
from werkbund.trees.histograms import WORDS, accumulate, add_value, divide
from werkbund.trees.objectives import KINDS, Kind, Objective
from werkbund.trees.predict import leaf_sums, logits, scores
from werkbund.trees.rules import GrowthRules
from werkbund.trees.sampling import draw_rows, row_hashes
from werkbund.trees.terms import Group, Terms, TreePlan, base_score, ground_of
from werkbund.trees.threads import num_threads, pieces, spread

__all__ = [
    "KINDS",
    "MOST_BINS",
    "WORDS",
    "BinEdges",
    "Blocks",
    "Cells",
    "Ensemble",
    "FixedPoint",
    "Ground",
    "Group",
    "Growth",
    "GrowthRules",
    "Kind",
    "Objective",
    "Terms",
    "TreePlan",
    "Trees",
    "accumulate",
    "add_value",
    "advance",
    "base_score",
    "begin",
    "contributions",
    "divide",
    "draw_rows",
    "even_edges",
    "ground_of",
    "importance",
    "keys_of",
    "leaf_sums",
    "logits",
    "num_threads",
    "pieces",
    "row_hashes",
    "scores",
    "spread",
]
