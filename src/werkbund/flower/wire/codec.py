"""Tasks and answers as parcels and back.

One client a message. Its kind says which array is the one vector, such as the weights or the update: raw little-endian
numbers. Everything else is small and lies in the body; the head says what is what, in JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from werkbund._version import __version__
from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Field, Kind
from werkbund.core.text import one_line
from werkbund.core.types import Replies, Tasks
from werkbund.flower.wire.parcel import LARGEST, LONGEST_TEXTS, ArrayEntry, Parcel, pack, unpack
from werkbund.ledger.lines import Head

PROTOCOL = 1
"""Number of this form of messages; another one is refused by name."""

MOST_SMALL_BYTES = 64 * 2**20
"""Bytes that the small arrays of a message may have at most."""

MOST_HEAD_BYTES = 2**20
"""Bytes of a task's head: one of 300 columns, 10,000 levels and 1000 failure modes has half of it."""

MOST_ANSWER_HEAD_BYTES = 2**17
_LEAST_BODY_BYTES = 2**16
_MOST_ARRAYS, _DEEPEST = 1000, 32
_LONGEST_REASON = 2000
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)
"""Texts, also one that does not end, and brackets outside of them; each letter is looked at once."""
_HEAD = ("werkbund", "kind", "round", "attempt", "client", "arrays")
_VECTOR_TYPES = ("<f4", "<f8", "<u8", "<i8", "<u4", "<i4")
"""Numbers that a vector may be made of; 32-bit floating point where the head does not say."""


@dataclass(frozen=True)
class Ask:
    """Hold one task as it travels.

    Parameters
    ----------
    run
        Which run it belongs to; the same after a resume.
    name
        The client that is meant.
    tasks
        One task.
    briefing
        Fingerprint of what the client must know about the run.
    brief
        That itself, as plain values, where the client may not have it yet.
    version
        Of the Werkbund that asks.
    """

    run: str
    name: str
    tasks: Tasks
    briefing: str
    brief: Mapping[str, Any] | None = None
    version: str = __version__


@dataclass(frozen=True)
class Answer:
    """Hold one answer as it travels: replies, or why there are none.

    Parameters
    ----------
    replies
        Of one client; None if it refuses or failed.
    code
        Kind of refusal, such as `briefing` (what the run is about is not known here), `policy`, `failed`.
    reason
        In words.
    name
        Of the client that answers.
    ledger
        How far its ledger goes with this answer written down; None where it is not.
    """

    replies: Replies | None
    code: str = ""
    reason: str = ""
    name: str = ""
    ledger: Head | None = None


WHO = Kind("whoami", "say the client's name and nothing else", "when the server looks for its clients")


def encode_whoami() -> Parcel:
    """Return the question for a client's name."""
    return encode_ask(Ask("", "", Tasks(WHO, 0, np.zeros(1, np.int64)), ""))


def encode_ask(ask: Ask) -> Parcel:
    """Return a task as a parcel.

    Raises
    ------
    ClientError
        If what the client must know about the run is too long: no client would read it.
    """
    tasks = ask.tasks
    vector = tasks.kind.vector_asked
    arrays = [("shared", name, array) for name, array in tasks.shared.items() if name != vector]
    arrays += [("own", name, array) for name, array in tasks.own.items() if name != vector]
    entries, body = pack((half, name, np.asarray(array)) for half, name, array in arrays)
    head = _head(tasks, entries)
    head |= {"run": ask.run, "name": ask.name, "briefing": ask.briefing}
    if ask.brief is not None:
        head["brief"] = dict(ask.brief)
        _check_brief(head)
    if vector in tasks.own:  # each client starts elsewhere
        return _parcel(head | {"vector_half": "own"}, body, tasks.own[vector][0])
    return _parcel(head, body, tasks.shared.get(vector))


def decode_ask(parcel: Parcel, kinds: Mapping[str, Kind]) -> Ask:
    """Return the task that a parcel holds.

    Parameters
    ----------
    parcel
        What came.
    kinds
        Those that are known here, by name; a task of another kind has one of its name that declares nothing.

    Raises
    ------
    ClientError
        If the parcel holds no task, is of another protocol, too large, or damaged.
    """
    _check_sizes("task", parcel, MOST_HEAD_BYTES, MOST_SMALL_BYTES, LARGEST)
    head = _read_head(parcel, (*_HEAD, "run", "name", "briefing"))
    halves, kind = _halves(head, parcel), _kind(head, kinds)
    if parcel.vector and kind.vector_asked:
        vector = _vector(head, parcel.vector)
        own = head.get("vector_half") == "own"
        halves["own" if own else "shared"][kind.vector_asked] = vector[None] if own else vector
    clients = np.array([_whole(head, "client")])
    tasks = Tasks(kind, _whole(head, "round"), clients, halves["shared"], halves["own"], _whole(head, "attempt"))
    run, name, briefing, version = (_text(head, key) for key in ("run", "name", "briefing", "werkbund"))
    return Ask(run, name, tasks, briefing, head.get("brief"), version)


def encode_answer(ask: Ask, answer: Answer) -> Parcel:
    """Return the answer to a task as a parcel."""
    tasks, replies = ask.tasks, answer.replies
    if replies is None:
        head = _head(tasks, [])
        reason = answer.reason[:_LONGEST_REASON]
        head |= {"code": answer.code, "reason": reason, "name": answer.name, **_told(answer.ledger)}
        return Parcel(_json(head))
    vector = tasks.kind.vector_answered
    halves = {"sums": replies.sums, "clear": replies.clear, "pooled": replies.pooled}
    arrays = [(half, name, array) for half, named in halves.items() for name, array in named.items()]
    entries, body = pack((half, name, np.asarray(a)) for half, name, a in arrays if (half, name) != ("sums", vector))
    head = _head(tasks, entries)
    head |= {"fingerprint": replies.fingerprint, "name": answer.name, **_told(answer.ledger)}
    return _parcel(head, body, replies.sums.get(vector))


def encode_refusal(answer: Answer) -> Parcel:
    """Return the answer to a parcel that could not be read as a task."""
    return encode_answer(Ask("", "", Tasks(Kind("unknown"), 0, np.zeros(1, np.int64)), ""), answer)


def decode_answer(parcel: Parcel, kind: Kind, vector_bytes: int = MOST_SMALL_BYTES) -> Answer:
    """Return the answer that a parcel holds.

    Parameters
    ----------
    parcel
        What came.
    kind
        Of the task that was asked.
    vector_bytes
        Bytes that its vector may have at most. Its small arrays may have as many as its kind declares.

    Raises
    ------
    ClientError
        If the parcel holds no answer, is of another protocol, too large, or damaged.
    """
    body_bytes = most_body_bytes(kind)
    _check_sizes("answer", parcel, MOST_ANSWER_HEAD_BYTES, body_bytes, vector_bytes if kind.vector_answered else 0)
    head = _read_head(parcel)
    if "code" in head:
        code, reason = _text(head, "code"), one_line(_text(head, "reason"))
        return Answer(None, code, reason, _text(head, "name"), _ledger(head))
    halves, kind = _halves(head, parcel, body_bytes), _kind(head, {kind.name: kind})
    if parcel.vector and kind.vector_answered:
        halves["sums"][kind.vector_answered] = _vector(head, parcel.vector)[None]
    clients = np.array([_whole(head, "client")])
    sums, clear, pooled = halves["sums"], halves["clear"], halves["pooled"]
    replies = Replies(kind, _whole(head, "round"), clients, sums, clear, _text(head, "fingerprint"), pooled)
    return Answer(replies, name=_text(head, "name"), ledger=_ledger(head))


def most_body_bytes(kind: Kind) -> int:
    """Return how many bytes the small arrays of an answer to this kind may have: as its fields declare.

    Where the size of one is known only later, that is `MOST_SMALL_BYTES`.
    """
    declared = sum(_most_bytes(field) for field in kind.answer if not field.vector)
    return min(max(declared, _LEAST_BODY_BYTES), MOST_SMALL_BYTES)


def _most_bytes(field: Field) -> int:
    sizes = [size for size in field.shape if isinstance(size, int)]
    if len(sizes) < len(field.shape) or "*" in field.name:
        return MOST_SMALL_BYTES
    return LONGEST_TEXTS if "U" in (field.dtype or "U") else 8 * math.prod(sizes)


def task_id(ask: Ask) -> str:
    """Return 32 hexadecimal digits that name a task: the same for the same question, however often it is asked.

    What the client must know about the run does not count: it may come along or not.
    """
    alone = encode_ask(Ask(ask.run, ask.name, ask.tasks, ask.briefing))
    digest = hashlib.sha256(alone.head)
    for part in (alone.body, alone.vector):
        digest.update(part)
    return digest.hexdigest()[:32]


def _head(tasks: Tasks, entries: list[ArrayEntry]) -> dict[str, Any]:
    """Return what the heads of a task and of its answer have in common, for one client's task."""
    arrays = [entry.to_json() for entry in entries]
    base = {"protocol": PROTOCOL, "werkbund": __version__, "kind": tasks.kind.name, "round": tasks.round}
    return base | {"attempt": tasks.attempt, "client": int(tasks.clients[0]), "arrays": arrays}


def _json(head: Mapping[str, Any]) -> bytes:
    return json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()


def _check_sizes(what: str, parcel: Parcel, head: int, body: int, vector: int) -> None:
    """Raise if a part of a parcel is longer than it may be, before anything of it is read."""
    for part, most in (("head", head), ("body", body + 1), ("vector", vector)):  # 1: says how the body is packed
        length = len(getattr(parcel, part))
        if length > most:
            raise ClientError(f"the {part} of its {what} must have at most {most} bytes, got {length}")


def _check_depth(head: bytes) -> None:
    """Raise if JSON holds more values within values than any message of ours."""
    depth = 0
    for token in _TOKENS.finditer(head):
        depth += bool(token[1]) - bool(token[2])
        if depth > _DEEPEST:
            raise ClientError(f"a message's head must be JSON of at most {_DEEPEST} levels; the sender runs other code")


def _check_brief(head: Mapping[str, Any]) -> None:
    length = len(_json(head))
    if length > MOST_HEAD_BYTES:
        raise ClientError(
            f"what a client is told of a run must have at most {MOST_HEAD_BYTES} bytes, got {length}; leave out "
            "category columns of very many levels (data.never)"
        )


def _read_head(parcel: Parcel, needed: tuple[str, ...] = _HEAD) -> dict[str, Any]:
    _check_depth(parcel.head)
    try:
        head = json.loads(parcel.head)
        if not isinstance(head, dict):
            raise ValueError("not an object")
        _json(head)  # half of a pair of surrogates is no text, and could not be written down again
    except (ValueError, RecursionError) as error:
        raise ClientError(f"a message's head must be JSON: {error}; the sender runs other code") from error
    if head.get("protocol") != PROTOCOL:
        raise ClientError(
            f"a message must be of protocol {PROTOCOL}, got one of Werkbund {_text(head, 'werkbund') or 'unknown'}; "
            f"this is {__version__}. Install the same version at both ends"
        )
    missing = [key for key in needed if key not in head]
    if missing:
        raise ClientError(f"a message's head lacks {', '.join(missing)}; the sender runs other code")
    return head


def _halves(
    head: Mapping[str, Any], parcel: Parcel, most_bytes: int = MOST_SMALL_BYTES
) -> dict[str, dict[str, AnyArray]]:
    halves: dict[str, dict[str, AnyArray]] = {half: {} for half in ("shared", "own", "sums", "clear", "pooled")}
    described = head["arrays"]
    if not isinstance(described, list):
        raise ClientError("a message's head must list its arrays")
    if len(described) > _MOST_ARRAYS:
        raise ClientError(f"a message must have at most {_MOST_ARRAYS} arrays, got {len(described)}")
    entries = [ArrayEntry.from_json(values) for values in described]
    for half, name, array in unpack(entries, parcel.body, most_bytes):
        if half not in halves or name in halves[half]:
            raise ClientError(f"array {name!r} must belong once to a part of a message, got {half!r}")
        halves[half][name] = array
    return halves


def _whole(head: Mapping[str, Any], key: str) -> int:
    value = head[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ClientError(f"{key} of a message must be a whole number; the sender runs other code")
    return value


def _text(head: Mapping[str, Any], key: str) -> str:
    value = head.get(key, "")
    if not isinstance(value, str):
        raise ClientError(f"{key} of a message must be a text; the sender runs other code")
    return value


def _kind(head: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Kind:
    name = _text(head, "kind")
    return kinds.get(name) or Kind(one_line(name, 100))


def _told(ledger: Head | None) -> dict[str, Any]:
    """Return what the head of an answer says of its client's ledger."""
    return {} if ledger is None else {"ledger": [ledger.seq, ledger.digest]}


def _ledger(head: Mapping[str, Any]) -> Head | None:
    told = head.get("ledger")
    if told is None:
        return None
    if not isinstance(told, list) or [type(one) for one in told] != [int, str] or not Head(*told).is_wellformed:
        raise ClientError("what a message says of its client's ledger must be a number and a digest")
    return Head(*told)


def _parcel(head: Mapping[str, Any], body: bytes, vector: AnyArray | None) -> Parcel:
    """Return a parcel with a vector as raw little-endian numbers; the head names their type unless it is the usual one.

    Numbers that are no such type travel as the usual one, 32-bit floating point.
    """
    if vector is None:
        return Parcel(_json(head), body)
    code = np.asarray(vector).dtype.newbyteorder("<").str
    if code in _VECTOR_TYPES[2:]:
        return Parcel(_json({**head, "vector": code}), body, np.ascontiguousarray(vector, dtype=code).tobytes())
    return Parcel(_json(head), body, np.ascontiguousarray(vector, dtype=_VECTOR_TYPES[0]).tobytes())


def _vector(head: Mapping[str, Any], raw: bytes) -> AnyArray:
    code = _text(head, "vector") or _VECTOR_TYPES[0]
    if code not in _VECTOR_TYPES:
        raise ClientError(f"a vector must be made of one of {', '.join(_VECTOR_TYPES)}, got {one_line(code, 20)!r}")
    dtype = np.dtype(code)
    if len(raw) % dtype.itemsize:
        raise ClientError(f"a vector must have {dtype.itemsize} bytes a parameter, got {len(raw)} bytes")
    return np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))
