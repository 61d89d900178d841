"""How an exported model is run, by ONNX Runtime: as a program outside this package would."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array
from werkbund.core.errors import ModelError
from werkbund.data.features import clean

_ERRORS_ALONE = 3
"""The runtime's number for a log without warnings."""


def open_session(model: bytes) -> Any:
    """Return an `onnxruntime.InferenceSession` on the CPU.

    Raises
    ------
    ModelError
        If the bytes are no model that this runtime can run.
    """
    import onnxruntime  # slow to import, and only who scores by a graph needs it

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ALONE
    options.intra_op_num_threads = 1  # a table's model is small: threads cost more than they give
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises a class of its own for each of its status codes
        raise ModelError(f"the model must be an ONNX model that onnxruntime can run: {error}") from error


def score_onnx(model: bytes, frame: pl.DataFrame) -> tuple[Float64Array, BoolArray]:
    """Score a table in raw units with an exported model.

    Parameters
    ----------
    model
        What a model's `to_onnx` returned.
    frame
        Has at least the columns that the model names as its inputs.

    Returns
    -------
    probability, decision
        (rows,) each: float64, and whether the probability reaches the model's threshold.
    """
    session = open_session(model)
    probability, decision = session.run(["probability", "decision"], feeds_of(session, frame))
    return probability, decision


def feeds_of(session: Any, frame: pl.DataFrame) -> dict[str, AnyArray]:
    """Return a table in raw units as the inputs that a session asks for: (rows, 1) each, by column."""
    inputs = session.get_inputs()
    numbers = [tensor.name for tensor in inputs if tensor.type == "tensor(double)"]
    categories = [tensor.name for tensor in inputs if tensor.type == "tensor(string)"]
    return clean_feeds(clean(frame, numbers, categories))


def clean_feeds(cleaned: pl.DataFrame) -> dict[str, AnyArray]:
    """Return the columns of a table that `clean` returned, as a session takes them: (rows, 1) each, by name."""
    arrays = {column.name: _plain(column) for column in cleaned.get_columns()}
    return {name: array.reshape(-1, 1) for name, array in arrays.items()}


def _plain(column: pl.Series) -> AnyArray:
    """Return numbers as they are, and texts as objects, "" for a missing one: (rows,)."""
    if column.dtype != pl.String:
        return column.to_numpy()
    return np.array([text or "" for text in column.to_list()], dtype=object)
