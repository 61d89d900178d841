"""The graph's input side gives the features that `Preparation` and `data.expressions` give."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper

from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.data.expressions import (
    Binary,
    Call,
    CaseWhen,
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
from werkbund.data.preparation import Preparation
from werkbund.data.schema import Derived
from werkbund.model.onnx.graph import Graph
from werkbund.model.onnx.preparation import add_feature, add_preparation, raw_inputs
from werkbund.model.onnx.running import feeds_of, open_session

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
        lambda: CaseWhen(((truth(), number()), (truth(), number())), number()),
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


def features_of(preparation: Preparation, frame: pl.DataFrame) -> Float32Array:
    graph = Graph()
    graph.name(add_preparation(graph, preparation), "features")
    output = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", preparation.num_features])
    session = open_session(graph.model(raw_inputs(preparation), [output], {}))
    (features,) = session.run(None, feeds_of(session, frame))
    return np.asarray(features, dtype=np.float32)


@pytest.mark.parametrize("name", ["table", "strange_table"])
def test_the_graph_gives_the_same_features_bit_for_bit(
    name: str, preparation: Preparation, request: pytest.FixtureRequest
) -> None:
    frame: pl.DataFrame = request.getfixturevalue(name)
    np.testing.assert_array_equal(features_of(preparation, frame), preparation.transform(frame))


def test_a_table_without_rows_gives_no_features(preparation: Preparation, table: pl.DataFrame) -> None:
    assert features_of(preparation, table[:0]).shape == (0, preparation.num_features)


def test_categories_alone_are_enough() -> None:
    prepared = Preparation((), (), (), (), (("kind", ("L", "M")), ("empty", ())))
    frame = pl.DataFrame({"kind": ["M", "X", None], "empty": ["a", "b", "c"]})
    assert features_of(prepared, frame).tolist() == [[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_values_without_single_precision_are_missing_in_the_graph_too() -> None:
    prepared = Preparation(("x",), (), (0.0,), (1.0,), (), ("x",))
    frame = pl.DataFrame({"x": [1e300, -1e39, 3.4e38, float("inf"), None]})
    assert features_of(prepared, frame)[:, 1].tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]
    np.testing.assert_array_equal(features_of(prepared, frame), prepared.transform(frame))


def test_marked_readings_are_missing_in_the_graph_too() -> None:
    marks = (("x", (-999.0, "> 1e6")),)
    prepared = Preparation(("x",), (Derived("twice", "x + x"),), (0.0,) * 2, (1.0,) * 2, (), ("x", "twice"), (), marks)
    frame = pl.DataFrame({"x": [-999.0, -999.0001, -998.0, 1e6, 1000001.0, 1e300, None]})
    assert features_of(prepared, frame)[:, 2].tolist() == [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    np.testing.assert_array_equal(features_of(prepared, frame), prepared.transform(frame))
