"""Score a table with an exported model, as any program outside Python would."""

from __future__ import annotations

from typing import Any

import onnxruntime
import polars as pl

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array
from werkbund.core.errors import ModelError
from werkbund.data.features import clean

_QUIET = 3  # errors alone


def open_session(model: bytes) -> Any:
    """Return an `onnxruntime.InferenceSession` on the CPU.

    Raises
    ------
    ModelError
        If the bytes are no model that this runtime can run.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
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
        What `TrainedModel.to_onnx` returned.
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
    cleaned = clean(frame, numbers, categories)
    values = {name: cleaned[name].to_numpy() for name in numbers}
    levels = {name: cleaned[name].fill_null("").to_numpy().astype(object) for name in categories}
    return {name: column.reshape(-1, 1) for name, column in (values | levels).items()}
