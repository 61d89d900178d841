"""Parcels as Flower's records and back: one config record, and one array for the vector."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from werkbund.core.errors import ClientError
from werkbund.flower.wire.parcel import Parcel

_RECORD, _VECTOR, _RAW = "werkbund", "vector", "raw.float32.le"


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


def _vector_of(arrays: dict[str, ArrayRecord]) -> bytes:
    if _VECTOR not in arrays:
        return b""
    record = arrays[_VECTOR]
    if list(record) != [_VECTOR] or record[_VECTOR].stype != _RAW:
        raise ClientError("a message's array must be one vector of raw float32; the sender runs other code")
    data: bytes = record[_VECTOR].data
    return data
