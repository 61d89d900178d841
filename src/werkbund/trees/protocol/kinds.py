"""What the server asks of clients that grow trees together."""

from __future__ import annotations

from werkbund.core.kinds import MOST_ROWS, TRAINING_ROWS, Field, Kind, Signal
from werkbund.learner.counts import COUNT_FIELDS, EDGES_FIELD

TREES = Signal(
    "trees",
    "for trees: rows and sums of gradients in each cell of a feature's values, or trees grown here; a cell or a leaf "
    "may be of a single row",
    usual=False,
)

COUNTS_WANTED = "evaluate"
"""Name of the array of a task that says whether counts of the trees so far are wanted too."""

_LEAST = Field(
    "shared", "least", "fewest rows of one client that are told of", (), "iu", minimum="minimum_cell_rows", added=True
)
_TREES_SO_FAR = (
    Field("shared", "mark", "which trees the scores must hold", (16,), "u"),
    Field("shared", "num_trees", "how many these are", (), "iu"),
    Field("shared", "last.*", "the last round's trees, for who follows"),
    Field("shared", "terms.*", "bins and scales that all agreed on, for who is behind"),
    Field("shared", "ensemble.*", "all trees so far, for who is behind"),
    _LEAST,
)
_GROUP = (
    Field("shared", "outputs", "which score each of the round's trees adds to", ("trees",), "iu"),
    Field("shared", "keys", "streams of the round's trees", ("trees",), "u"),
    Field("shared", "row_keys", "streams by which rows are drawn", ("trees",), "u", stream=True),
    Field("shared", COUNTS_WANTED, "whether counts of the trees so far are wanted too", (), "b"),
    EDGES_FIELD,
)
_BEHIND = Field("clear", "behind", "whether it must be sent all trees anew, because it was started again", (), "b")
_ROWS = "number of training rows"

TREE_CELLS = Kind(
    "tree-cells",
    "count rows in intervals of each feature's values",
    "a few times before the first tree, to agree on cells",
    (
        Field("shared", "lows", "lowest key of each interval", ("intervals",), "u"),
        Field("shared", "highs", "highest key of each interval", ("intervals",), "u"),
        Field("shared", "cuts", "intervals of each feature and of the target", ("features",), "iu"),
        Field("shared", "parts", "equal parts that an interval is cut into", ("features",), "iu"),
        _LEAST,
    ),
    (
        Field(
            "sums",
            "cells",
            "training rows in each interval of each feature's values",
            ("intervals asked",),
            "iu",
            TRAINING_ROWS,
            TREES,
            least=0,
        ),
        Field("sums", "rows", _ROWS, (), "iu", TRAINING_ROWS, TREES, least=0, most=MOST_ROWS),
    ),
    signal=TREES,
)

TREE_SURVEY = Kind(
    "tree-survey",
    "count the rows of each class, or add up the targets",
    "once, before the first tree",
    (
        Field("shared", "classes", "number of classes", (), "iu"),
        Field("shared", "lowest", "lowest target", (), "f"),
        Field("shared", "width", "width of the targets", (), "f"),
        _LEAST,
    ),
    (
        Field(
            "sums",
            "classes",
            "number of training rows without and with a failure",
            ("classes",),
            "iu",
            TRAINING_ROWS,
            TREES,
            least=0,
            most=MOST_ROWS,
        ),
        Field(
            "sums",
            "total",
            "sum of the places of number targets in their range, in steps",
            (),
            "iu",
            "",
            TREES,
            on_request=True,
        ),
    ),
    signal=TREES,
)

TREE_LEVEL = Kind(
    "tree-level",
    "add up gradients in the cells of some nodes",
    "each level of each round's trees",
    (
        *_TREES_SO_FAR,
        *_GROUP,
        Field("shared", "grown.*", "the round's trees so far"),
        Field("shared", "asked", "nodes", ("nodes",), "iu"),
        Field("shared", "features", "which features of each node", ("nodes", "features"), "iu"),
    ),
    (
        Field(
            "sums",
            "histograms",
            "rows and sums of gradients in each cell of each node asked",
            ("cells asked", 3),
            "iu",
            signal=TREES,
        ),
        *COUNT_FIELDS,
        _BEHIND,
    ),
    trains=True,
    staged=True,
    signal=TREES,
)

TREE_EVALUATE = Kind(
    "tree-evaluate",
    "count the scores of the trees so far on held-out rows",
    "once each round, and at the end",
    (*_TREES_SO_FAR, Field("shared", "each", "whether each client's counts are wanted", (), "b"), EDGES_FIELD),
    (*COUNT_FIELDS, _BEHIND),
    measures=True,
    signal=TREES,
)

TREE_BAG = Kind(
    "tree-bag",
    "grow trees on each client's own rows alone",
    "each round",
    (*_TREES_SO_FAR, *_GROUP, Field("shared", "rules", "how trees grow", ("rules",), "f")),
    (
        *COUNT_FIELDS,
        _BEHIND,
        Field(
            "clear",
            "bag.*",
            "trees grown on the training rows here alone: splits and leaves",
            ("a few numbers a node",),
            signal=TREES,
        ),
        Field("clear", "rows", _ROWS + ", by which its trees count", (), "iu", TRAINING_ROWS, TREES),
    ),
    trains=True,
    staged=True,
    signal=TREES,
)

TREE_KINDS = (TREE_CELLS, TREE_SURVEY, TREE_LEVEL, TREE_EVALUATE, TREE_BAG)
"""All of them."""
