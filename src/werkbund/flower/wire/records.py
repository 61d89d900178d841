"""Parcels as the content of Flower's messages, and how soon Flower looks for content that is still on its way.

A parcel becomes one config record, and one array for the vector.

A message is announced before its content has arrived, so whoever reads it at once finds a part missing. Flower then
pauses a whole second, and two the next time; most of a short round would be such pauses.
"""

from __future__ import annotations

from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.supercore.inflatable import inflatable_utils

from werkbund.core.errors import ClientError
from werkbund.flower.wire.parcel import Parcel

_RECORD, _VECTOR, _RAW = "werkbund", "vector", "raw.float32.le"

PAUSES: dict[str, Any] = {"initial_backoff": 0.02, "backoff_cap": 1.0, "max_tries_per_object": None}
"""First and longest pause in seconds; the number of tries is bounded by Flower's time limit alone (two hours)."""


def to_records(parcel: Parcel) -> RecordDict:
    """Return a parcel as the content of a message."""
    content: dict[str, bytes] = {"head": parcel.head}
    if parcel.body:
        content["body"] = parcel.body
    records = RecordDict({_RECORD: ConfigRecord(content)})
    if parcel.vector:
        array = Array(dtype="float32", shape=(len(parcel.vector) // 4,), stype=_RAW, data=parcel.vector)
        records[_VECTOR] = ArrayRecord({_VECTOR: array})
    return records


def from_records(records: RecordDict) -> Parcel:
    """Read the content of a message.

    Raises
    ------
    ClientError
        If it is no parcel.
    """
    configs, arrays = records.config_records, records.array_records
    if set(configs) != {_RECORD} or not set(arrays) <= {_VECTOR} or records.metric_records:
        raise ClientError(
            f"a message must hold the record {_RECORD!r}, got {sorted(records)}; the sender runs other code"
        )
    head, body = configs[_RECORD].get("head"), configs[_RECORD].get("body", b"")
    if not isinstance(head, bytes) or not isinstance(body, bytes):
        raise ClientError("a message's head and body must be bytes; the sender runs other code")
    return Parcel(head, body, _vector_of(arrays))


def look_again_soon() -> None:
    """Have this process pause as `PAUSES` says whenever it reads a message from now on."""
    for function in (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree):
        function.__kwdefaults__.update(PAUSES)


def _vector_of(arrays: dict[str, ArrayRecord]) -> bytes:
    if _VECTOR not in arrays:
        return b""
    record = arrays[_VECTOR]
    if list(record) != [_VECTOR] or record[_VECTOR].stype != _RAW:
        raise ClientError("a message's array must be one vector of raw float32; the sender runs other code")
    data: bytes = record[_VECTOR].data
    return data
