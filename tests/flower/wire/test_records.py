"""Parcels as the content of messages, and the pauses of the Flower functions that fetch it."""

from __future__ import annotations

import inspect
from copy import deepcopy
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.supercore.inflatable import inflatable_utils
from flwr.supernode import start_client_internal

from werkbund.core.errors import ClientError
from werkbund.flower.wire.parcel import Parcel
from werkbund.flower.wire.records import PAUSES, from_records, look_again_soon, to_records

HEAD = ConfigRecord({"head": b"{}"})


@pytest.mark.parametrize("body", [b"", b"body", bytes(1000)])
@pytest.mark.parametrize("vector", [b"", b"abcd", bytes(4000)])
def test_a_parcel_comes_back_from_flowers_records(body: bytes, vector: bytes) -> None:
    parcel = Parcel(b"{}", body, vector)
    records = to_records(parcel)
    assert from_records(records) == parcel
    assert from_records(RecordDict.inflate(records.deflate(), _children(records))) == parcel


def _children(records: RecordDict) -> Any:
    return records.children


def test_the_vector_is_one_array_of_flowers_that_says_its_shape() -> None:
    (record,) = to_records(Parcel(b"{}", b"", bytes(12))).array_records.values()
    (array,) = record.values()
    assert (array.dtype, tuple(array.shape), array.stype) == ("float32", (3,), "raw.float32.le")
    assert array.data == bytes(12)


def _with_vector(name: str = "vector", inner: str = "vector", stype: str = "raw.float32.le") -> RecordDict:
    array = Array(dtype="float32", shape=(1,), stype=stype, data=b"abcd")
    return RecordDict({"werkbund": HEAD, name: ArrayRecord({inner: array})})


@pytest.mark.parametrize(
    "records",
    [
        RecordDict(),
        RecordDict({"other": HEAD}),
        RecordDict({"werkbund": HEAD, "other": HEAD}),
        RecordDict({"werkbund": MetricRecord({"head": 1})}),
        RecordDict({"werkbund": HEAD, "figures": MetricRecord({"loss": 0.5})}),
        RecordDict({"werkbund": ConfigRecord({"head": "{}"})}),
        RecordDict({"werkbund": ConfigRecord({"body": b""})}),
        RecordDict({"werkbund": ConfigRecord({"head": b"{}", "body": 7})}),
        RecordDict({"werkbund": HEAD, "vector": ArrayRecord()}),
        _with_vector(name="weights"),
        _with_vector(inner="weights"),
        _with_vector(stype="numpy.ndarray"),
    ],
)
def test_other_records_are_refused(records: RecordDict) -> None:
    with pytest.raises(ClientError, match="the sender runs other code"):
        from_records(records)


def test_nothing_of_flowers_is_unpickled_or_read_as_numpy_file() -> None:
    assert from_records(_with_vector()).vector == b"abcd"


def test_what_reads_messages_looks_again_soon() -> None:
    functions = (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree)
    before = [deepcopy(function.__kwdefaults__) for function in functions]
    try:
        for function in functions:
            assert set(PAUSES) < set(inspect.signature(function).parameters)
            assert function.__kwdefaults__["initial_backoff"] == 1
        look_again_soon()
        assert start_client_internal.pull_objects.__kwdefaults__["initial_backoff"] == 0.02
        assert start_client_internal.pull_objects.__kwdefaults__["max_time"] == 7200
    finally:
        for function, defaults in zip(functions, before, strict=True):
            function.__kwdefaults__.update(defaults)
