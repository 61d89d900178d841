"""Tree arithmetic alone: bins, fixed point, histograms, splits, growth, prediction, contributions."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.trees.arithmetic.cells import Cells
    from werkbund.trees.arithmetic.edges import BinEdges, even_edges
    from werkbund.trees.arithmetic.ensemble import Ensemble, Trees, importance
    from werkbund.trees.arithmetic.growth import Growth, advance, begin
    from werkbund.trees.arithmetic.histograms import WORDS, Blocks, accumulate, add_value, divide
    from werkbund.trees.arithmetic.keys import keys_of
    from werkbund.trees.arithmetic.objectives import OBJECTIVE_KINDS, FixedPoint, Objective, ObjectiveKind
    from werkbund.trees.arithmetic.predict import contributions, leaf_sums, logits, scores
    from werkbund.trees.arithmetic.rules import GrowthBasis, GrowthRules
    from werkbund.trees.arithmetic.sampling import draw_rows, row_hashes
    from werkbund.trees.arithmetic.terms import Group, Terms, TreePlan, base_score, basis_of
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "OBJECTIVE_KINDS",
    "WORDS",
    "BinEdges",
    "Blocks",
    "Cells",
    "Ensemble",
    "FixedPoint",
    "Group",
    "Growth",
    "GrowthBasis",
    "GrowthRules",
    "Objective",
    "ObjectiveKind",
    "Terms",
    "TreePlan",
    "Trees",
    "accumulate",
    "add_value",
    "advance",
    "base_score",
    "basis_of",
    "begin",
    "contributions",
    "divide",
    "draw_rows",
    "even_edges",
    "importance",
    "keys_of",
    "leaf_sums",
    "logits",
    "row_hashes",
    "scores",
]
