from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper

from werkbund.core.arrays import Float64Array
from werkbund.data.expressions import (
    Binary,
    Call,
    Case,
    Cast,
    ColumnRef,
    Expression,
    IsNull,
    Number,
    Text,
    Unary,
    parse,
)
from werkbund.data.features import clean, to_polars
from werkbund.model.onnx_expressions import add_feature
from werkbund.model.onnx_graph import Graph
from werkbund.model.onnx_session import open_session

NUMBERS, TEXTS = ("x", "y", "odd name [K]"), ("kind",)


def rows() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    special = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, math.nan, 3.0]
    drawn = {name: rng.choice([*special, *rng.normal(0, 3, 8)], 200) for name in NUMBERS}
    kinds = pl.Series(rng.choice(["L", "M", ""], 200), dtype=pl.String)
    return clean(pl.DataFrame(drawn).with_columns(kind=kinds), NUMBERS, TEXTS)


def by_onnx(expression: Expression, frame: pl.DataFrame) -> Float64Array:
    graph = Graph()
    graph.name(add_feature(graph, expression, {name: name for name in (*NUMBERS, *TEXTS)}), "feature")
    kinds = dict.fromkeys(NUMBERS, TensorProto.DOUBLE) | dict.fromkeys(TEXTS, TensorProto.STRING)
    inputs = [helper.make_tensor_value_info(name, kind, ["rows", 1]) for name, kind in kinds.items()]
    output = helper.make_tensor_value_info("feature", TensorProto.DOUBLE, ["rows", 1])
    feeds = {name: frame[name].to_numpy().reshape(-1, 1) for name in NUMBERS}
    texts = {name: frame[name].fill_null("").to_numpy().astype(object).reshape(-1, 1) for name in TEXTS}
    (result,) = open_session(graph.model(inputs, [output], {})).run(None, feeds | texts)
    values: Float64Array = result[:, 0]
    return np.where(np.isfinite(values), values, math.nan)


def by_polars(expression: Expression, frame: pl.DataFrame) -> Float64Array:
    column = frame.select(to_polars(expression).alias("feature"))["feature"]
    return np.asarray(column.cast(pl.Float64).fill_null(math.nan).to_numpy(), dtype=np.float64)


@pytest.mark.parametrize(
    "text",
    [
        "x + y - x * y / 3",
        "-x",
        "x / y",
        '"odd name [K]" * 2',
        "x = y",
        "x != y",
        "x < y",
        "x <= y",
        "x > y",
        "x >= y",
        "x > 0 AND NOT y > 0 OR x = 1",
        "kind = 'L'",
        "kind != 'L'",
        "kind IN ('L', 'M') AND x > 0",
        "CASE WHEN x > 1 THEN y WHEN x > 0 THEN -y ELSE 7 END",
        "CASE WHEN kind = 'L' THEN x END",
        "CAST(x AS INTEGER)",
        "CAST(x > 0 AS DOUBLE)",
        "CAST(CAST(x AS BOOLEAN) AS DOUBLE)",
        "x IS NULL",
        "x IS NOT NULL AND y BETWEEN -1 AND 1",
        "abs(x)",
        "sqrt(x)",
        "ln(x)",
        "exp(x)",
        "pow(x, y)",
        "least(x, y, 1)",
        "greatest(x, y)",
    ],
)
def test_the_graph_computes_what_polars_computes(text: str) -> None:
    frame, expression = rows(), parse(text)
    np.testing.assert_allclose(by_onnx(expression, frame), by_polars(expression, frame), rtol=1e-14)


def test_the_graph_computes_random_trees_as_polars_does() -> None:
    frame, rng = rows(), np.random.default_rng(11)
    for _ in range(150):
        expression = Binary("+", Call("least", (ColumnRef("x"), Number(1.0))), random_number(rng, 4))
        found, expected = by_onnx(expression, frame), by_polars(expression, frame)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=str(expression))


def random_number(rng: np.random.Generator, depth: int) -> Expression:
    def number() -> Expression:
        return random_number(rng, depth - 1)

    def truth() -> Expression:
        return random_truth(rng, depth - 1)

    if depth == 0:
        leaves: list[Expression] = [Number(float(rng.integers(-3, 4))), *map(ColumnRef, NUMBERS)]
        return leaves[rng.integers(len(leaves))]
    choices: list[Callable[[], Expression]] = [
        number,
        lambda: Unary("-", number()),
        lambda: Binary("+", number(), number()),
        lambda: Binary("-", number(), number()),
        lambda: Binary("*", number(), number()),
        lambda: Binary("/", number(), Call("greatest", (Call("abs", (number(),)), Number(0.5)))),
        lambda: Case(((truth(), number()), (truth(), number())), number()),
        lambda: Cast(truth(), "double"),
        lambda: Cast(number(), "integer"),
        lambda: Call("abs", (number(),)),
        lambda: Call("sqrt", (number(),)),
        lambda: Call("greatest", (number(), number(), number())),
    ]
    return choices[rng.integers(len(choices))]()


def random_truth(rng: np.random.Generator, depth: int) -> Expression:
    def number() -> Expression:
        return random_number(rng, max(depth - 1, 0))

    def truth() -> Expression:
        return random_truth(rng, depth - 1)

    if depth <= 0:
        return Binary("=", ColumnRef("kind"), Text("L"))
    choices: list[Callable[[], Expression]] = [
        lambda: Binary("<", number(), number()),
        lambda: Binary("!=", number(), number()),
        lambda: Binary("=", number(), number()),
        lambda: Binary("and", truth(), truth()),
        lambda: Binary("or", truth(), truth()),
        lambda: Unary("not", truth()),
        lambda: Cast(number(), "boolean"),
        lambda: IsNull(number()),
        lambda: Binary("!=", ColumnRef("kind"), Text("M")),
    ]
    return choices[rng.integers(len(choices))]()
