from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper

from werkbund.core.arrays import Float32Array
from werkbund.data.preparation import Preparation
from werkbund.model.onnx_graph import Graph
from werkbund.model.onnx_preparation import add_preparation, raw_inputs
from werkbund.model.onnx_session import feeds_of, open_session


def by_onnx(preparation: Preparation, frame: pl.DataFrame) -> Float32Array:
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
    np.testing.assert_array_equal(by_onnx(preparation, frame), preparation.transform(frame))


def test_a_table_without_rows_gives_no_features(preparation: Preparation, table: pl.DataFrame) -> None:
    assert by_onnx(preparation, table[:0]).shape == (0, preparation.num_features)


def test_categories_alone_are_enough() -> None:
    prepared = Preparation((), (), (), (), (("kind", ("L", "M")), ("empty", ())))
    frame = pl.DataFrame({"kind": ["M", "X", None], "empty": ["a", "b", "c"]})
    assert by_onnx(prepared, frame).tolist() == [[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_values_without_single_precision_are_missing_in_the_graph_too() -> None:
    prepared = Preparation(("x",), (), (0.0,), (1.0,), (), ("x",))
    frame = pl.DataFrame({"x": [1e300, -1e39, 3.4e38, float("inf"), None]})
    assert by_onnx(prepared, frame)[:, 1].tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]
    np.testing.assert_array_equal(by_onnx(prepared, frame), prepared.transform(frame))
