from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.wire import KNOWN, read_answer, read_ask
from werkbund._version import __version__
from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Field, Kind
from werkbund.core.types import Replies, Tasks
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.flower.wire import codec
from werkbund.flower.wire.codec import (
    WHO,
    Answer,
    Ask,
    decode_answer,
    encode_answer,
    encode_ask,
    encode_whoami,
    task_id,
)
from werkbund.flower.wire.parcel import LONGEST_TEXTS, Parcel
from werkbund.flower.wire.records import from_records, to_records

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NUMBERS = hnp.arrays(st.sampled_from(["<f4", "<f8", "<i8", "?"]), hnp.array_shapes(max_dims=3, max_side=3))
NAMED = st.dictionaries(NAMES, NUMBERS, max_size=3)
VECTORS = hnp.arrays("<f4", st.integers(1, 9))
WHOLE = st.integers(0, 2**40)


@st.composite
def _asks(draw: st.DrawFn) -> Ask:
    shared: dict[str, AnyArray] = {name: a for name, a in draw(NAMED).items() if name != "weights"}
    if draw(st.booleans()):
        shared["weights"] = draw(VECTORS)
    client = np.array([draw(WHOLE)])
    tasks = Tasks(
        draw(st.sampled_from([*KNOWN.values(), Kind("dance")])), draw(WHOLE), client, shared, draw(NAMED), draw(WHOLE)
    )
    brief = draw(st.none() | st.dictionaries(NAMES, st.integers() | NAMES, max_size=2))
    return Ask(draw(NAMES), draw(NAMES), tasks, draw(NAMES), brief, __version__)


@st.composite
def _answers(draw: st.DrawFn) -> tuple[Ask, Answer]:
    ask = draw(_asks())
    if draw(st.booleans()):
        return ask, Answer(None, draw(NAMES), draw(NAMES.filter(str.isprintable)), draw(NAMES))
    sums: dict[str, AnyArray] = {name: a for name, a in draw(NAMED).items() if name != "update"}
    if draw(st.booleans()):
        sums["update"] = draw(VECTORS)[None]
    clear = {name: a for name, a in draw(NAMED).items() if name != "update"}
    tasks = ask.tasks
    return ask, Answer(Replies(tasks.kind, tasks.round, tasks.clients, sums, clear, draw(NAMES)), name=draw(NAMES))


def _same(one: Any, other: Any) -> None:
    assert set(one) == set(other)
    for name, array in one.items():
        assert (array.dtype, array.shape) == (other[name].dtype, other[name].shape)
        np.testing.assert_array_equal(array, other[name])


@settings(deadline=None, max_examples=60)
@given(_asks())
def test_a_task_comes_back_as_it_was(ask: Ask) -> None:
    decoded = read_ask(from_records(to_records(encode_ask(ask))))
    assert replace(decoded, tasks=ask.tasks) == ask
    for name in ("kind", "round", "attempt"):
        assert getattr(decoded.tasks, name) == getattr(ask.tasks, name)
    assert decoded.tasks.clients.tolist() == ask.tasks.clients.tolist()
    _same(decoded.tasks.shared, ask.tasks.shared)
    _same(decoded.tasks.own, ask.tasks.own)


@settings(deadline=None, max_examples=60)
@given(_answers())
def test_an_answer_comes_back_as_it_was(both: tuple[Ask, Answer]) -> None:
    ask, answer = both
    decoded = read_answer(from_records(to_records(encode_answer(ask, answer))))
    assert (decoded.code, decoded.reason, decoded.name) == (answer.code, answer.reason, answer.name)
    if answer.replies is None:
        assert decoded.replies is None
        return
    assert decoded.replies is not None
    for name in ("kind", "round", "fingerprint"):
        assert getattr(decoded.replies, name) == getattr(answer.replies, name)
    assert decoded.replies.clients.tolist() == answer.replies.clients.tolist()
    for half in ("sums", "clear", "pooled"):
        _same(getattr(decoded.replies, half), getattr(answer.replies, half))


def test_weights_and_update_are_raw_little_endian_and_nothing_else() -> None:
    weights = np.array([1.5, -0.0, np.nan], np.float32)
    ask = Ask("run", "Hof", Tasks(TRAIN, 1, np.array([0]), {"weights": weights}), "brief")
    parcel = encode_ask(ask)
    assert parcel.vector == weights.astype("<f4").tobytes()
    assert len(parcel.body) == 1
    update = Replies(TRAIN, 1, np.array([0]), {"update": weights[None]})
    assert encode_answer(ask, Answer(update)).vector == weights.astype("<f4").tobytes()


@pytest.mark.parametrize("count", [1, 3])
def test_counts_as_a_plant_sends_them_come_back(count: int) -> None:
    histogram = np.zeros((count, 2, 1024), np.int64)
    histogram[:, 1, 1000] = 300
    replies = Replies(EVALUATE, 2, np.array([1]), {"test.histogram": histogram}, {}, "abc")
    ask = Ask("run", "Hof", Tasks(EVALUATE, 2, np.array([1])), "brief")
    parcel = encode_answer(ask, Answer(replies, name="Hof"))
    assert parcel.num_bytes < 600
    decoded = read_answer(parcel).replies
    assert decoded is not None
    np.testing.assert_array_equal(decoded.sums["test.histogram"], histogram)


def test_asking_for_a_name_says_nothing_else() -> None:
    ask = read_ask(encode_whoami())
    assert (ask.tasks.kind, ask.run, ask.name, ask.brief) == (WHO, "", "", None)


def _ask(**how: Any) -> Ask:
    weights = how.pop("weights", np.zeros(2, np.float32))
    own = {"key": np.array([how.pop("key", 5)])}
    task = {"kind": TRAIN, "round": 3, "attempt": 0, **how}
    ask = {name: task.pop(name) for name in ("run", "name", "briefing", "brief", "version") if name in task}
    tasks = Tasks(task["kind"], task["round"], np.array([1]), {"weights": weights}, own, task["attempt"])
    return Ask(**{"run": "run", "name": "Hof", "briefing": "b", **ask}, tasks=tasks)


def test_the_same_task_has_the_same_id_whether_it_is_briefed_or_not() -> None:
    assert task_id(_ask()) == task_id(_ask(brief={"a": 1})) == task_id(read_ask(encode_ask(_ask(brief={"a": 1}))))


@pytest.mark.parametrize(
    "how",
    [
        {"kind": EVALUATE},
        {"round": 4},
        {"attempt": 1},
        {"key": 6},
        {"weights": np.array([0, 1e-30], np.float32)},
        {"run": "other"},
        {"name": "Ulm"},
        {"briefing": "c"},
    ],
)
def test_another_task_has_another_id(how: dict[str, Any]) -> None:
    assert task_id(_ask(**how)) != task_id(_ask())


# From here on: what somebody else may have written.


def _head(parcel: Parcel, **values: Any) -> Parcel:
    head = {name: value for name, value in (json.loads(parcel.head) | values).items() if value is not ...}
    return replace(parcel, head=json.dumps(head).encode())


ANSWER = encode_answer(_ask(), Answer(Replies(TRAIN, 3, np.array([1]), {"update": np.ones((1, 2))}), name="Hof"))
REFUSAL = encode_answer(_ask(), Answer(None, "policy", "not today", "Hof"))

NO_TEXTS: list[Any] = [7, None, [], {}, True, 1.5]
NO_WHOLES: list[Any] = ["7", None, [], {}, True, 1.5]
WRONG: list[tuple[str, Any]] = [(key, value) for key in ("kind", "name") for value in NO_TEXTS]
WRONG += [(key, value) for key in ("round", "client") for value in NO_WHOLES]
WRONG += [("arrays", 7), ("arrays", None), ("arrays", ""), ("arrays", {}), ("arrays", True)]


@pytest.mark.parametrize(
    ("key", "value"),
    [*WRONG, *((key, value) for key in ("run", "briefing", "werkbund") for value in NO_TEXTS), ("attempt", "7")],
)
def test_a_task_with_a_part_of_another_type_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ClientError, match=key):
        read_ask(_head(encode_ask(_ask()), **{key: value}))


@pytest.mark.parametrize("key", ["kind", "run", "name", "briefing", "werkbund", "round", "attempt", "client", "arrays"])
def test_a_task_without_a_part_is_refused(key: str) -> None:
    with pytest.raises(ClientError, match=f"lacks {key}"):
        read_ask(_head(encode_ask(_ask()), **{key: ...}))


@pytest.mark.parametrize(("key", "value"), [*WRONG, *(("fingerprint", value) for value in NO_TEXTS)])
def test_an_answer_with_a_part_of_another_type_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ClientError, match=key):
        decode_answer(_head(ANSWER, **{key: value}), TRAIN)


@pytest.mark.parametrize("key", ["code", "reason", "name"])
@pytest.mark.parametrize("value", NO_TEXTS)
def test_a_refusal_with_a_part_of_another_type_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ClientError, match=key):
        read_answer(_head(REFUSAL, **{key: value}))


@pytest.mark.parametrize("protocol", [0, 2, "1", None, 1.5, [], ...])
def test_another_protocol_is_refused_with_both_versions(protocol: Any) -> None:
    for read, whole in ((read_ask, encode_ask(_ask())), (read_answer, ANSWER)):
        with pytest.raises(ClientError, match=rf"protocol 1, got one of Werkbund 9.9; this is {__version__}"):
            read(_head(whole, protocol=protocol, werkbund="9.9"))


@pytest.mark.parametrize(
    "head", [b"", b"{", b"[]", b"7", b"\xff", b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a":' * 20_000, b"9" * 5000]
)
def test_what_is_no_head_is_refused(head: bytes) -> None:
    for read in (read_ask, read_answer):
        with pytest.raises(ClientError, match="head must be JSON"):
            read(Parcel(head))


def test_a_very_long_head_is_not_read() -> None:
    for read, most in ((read_ask, codec.MOST_HEAD_BYTES), (read_answer, codec.MOST_ANSWER_HEAD_BYTES)):
        with pytest.raises(ClientError, match=f"head of its .* must have at most {most} bytes, got {most + 1}"):
            read(Parcel(b" " * (most + 1)))


@given(st.integers(1, 60), st.sampled_from([b"[]", b"{}"]), st.sampled_from([b"", b'"[[[",', b'"\\"[\\\\",']))
def test_a_deep_head_is_not_read(depth: int, brackets: bytes, text: bytes) -> None:
    opening, closing = (b"[", b"]") if brackets == b"[]" else (b'{"a":', b"}")
    deep = opening * depth + b"1" + closing * depth
    head = b'{"protocol":1,"name":[' + text + deep + b"]}"
    with pytest.raises(ClientError, match="levels" if depth + 2 > 32 else "lacks"):
        read_ask(Parcel(head))


@pytest.mark.parametrize(
    "pattern",
    [b'\\"', b'"\\', b'"', b'""', b'","', b"[]", b"{}", b'["', b'"]', b"\\", b'\\"[', b"[\\]", b'{"a":', b"9", b" "],
)
def test_no_head_takes_long_to_refuse(pattern: bytes) -> None:
    """Each letter is looked at once; whatever takes the square of a head's length takes hours here."""
    head = (pattern * (codec.MOST_HEAD_BYTES // len(pattern)))[: codec.MOST_HEAD_BYTES]
    for content in (head, b'{"protocol":1,"a":' + head[:-20]):
        began = time.process_time()
        with pytest.raises(ClientError):
            read_ask(Parcel(content))
        assert time.process_time() - began < 5.0


@settings(deadline=None, max_examples=30)
@given(st.integers(1001, 3000), st.sampled_from(["sums", "clear", "own"]))
def test_very_many_arrays_are_not_read(count: int, half: str) -> None:
    entries = [[half, str(number), "|u1", "|u1", [0], 0] for number in range(count)]
    for read, whole in ((read_ask, encode_ask(_ask())), (read_answer, ANSWER)):
        with pytest.raises(ClientError, match=r"at most 1000 arrays|head of its answer"):
            read(_head(whole, arrays=entries))


def test_what_is_told_of_a_run_fits_or_is_refused_before_it_is_sent() -> None:
    wide = {f"column {number:04d} of the line": {"kind": "number", "unit": "N*m"} for number in range(300)}
    levels = [f"supplier part number {number:06d}" for number in range(10_000)]
    brief = {"columns": wide, "schema": wide, "levels": levels, "modes": [f"mode of failure {n}" for n in range(1000)]}
    assert read_ask(encode_ask(_ask(brief=brief))).brief == brief
    with pytest.raises(ClientError, match="levels"):
        encode_ask(_ask(brief=brief | {"more": levels * 5}))


@pytest.mark.parametrize("kind", [*KNOWN.values(), Kind("dance")], ids=str)
def test_an_answer_is_bounded_by_what_its_kind_declares(kind: Kind) -> None:
    most = codec.most_body_bytes(kind)
    open_ended = [field for field in kind.answer if not field.vector and any(isinstance(n, str) for n in field.shape)]
    if not kind.answer:
        assert most == 2**16
    assert most < codec.MOST_SMALL_BYTES or open_ended or any("*" in field.name for field in kind.answer)
    whole = encode_answer(_ask(kind=kind), Answer(Replies(kind, 3, np.array([1]), {}), name="Hof"))
    with pytest.raises(ClientError, match=f"body of its answer must have at most {most + 1} bytes"):
        decode_answer(replace(whole, body=bytes(most + 2)), kind)
    if not kind.vector_answered:
        with pytest.raises(ClientError, match="vector of its answer must have at most 0 bytes"):
            decode_answer(replace(whole, vector=b"1234"), kind)


def test_the_bound_of_a_kind_of_ones_own_follows_from_its_fields() -> None:
    cell = Field("sums", "cells", "cells", (100, 200), "f")
    assert codec.most_body_bytes(Kind("own", answer=(cell,))) == 160_000
    assert codec.most_body_bytes(Kind("own", answer=(cell, replace(cell, name="more")))) == 320_000
    assert codec.most_body_bytes(Kind("own", answer=(replace(cell, shape=("rows",)),))) == codec.MOST_SMALL_BYTES
    assert codec.most_body_bytes(Kind("own", answer=(replace(cell, shape=(), dtype="U"),))) == LONGEST_TEXTS
    assert codec.most_body_bytes(Kind("own", answer=(replace(cell, name="bag.*"),))) == codec.MOST_SMALL_BYTES
    assert codec.most_body_bytes(Kind("own", answer=(replace(cell, vector=True),))) == 2**16


def test_an_answers_reason_is_cut_where_it_is_written() -> None:
    assert len(encode_answer(_ask(), Answer(None, "failed", "x" * 10**6, "Hof")).head) < 5000
    assert len(codec.encode_refusal(codec.Answer(None, "protocol", "x" * 10**6, "Hof")).head) < 5000


@pytest.mark.parametrize("number", [-1, 2**63, 2**70, 1e3, True])
def test_numbers_that_count_nothing_are_refused(number: Any) -> None:
    for key in ("round", "client"):
        with pytest.raises(ClientError, match="whole number"):
            read_answer(_head(ANSWER, **{key: number}))


@pytest.mark.parametrize("half", ["own half", "", "UPDATE"])
def test_an_array_of_no_part_of_a_message_is_refused(half: str) -> None:
    entry = [half, "a", "|u1", "|u1", [1], 1]
    with pytest.raises(ClientError, match="belong once"):
        read_answer(_head(replace(ANSWER, body=b"r\x00"), arrays=[entry]))


def test_an_array_that_comes_twice_is_refused() -> None:
    entry = ["sums", "a", "|u1", "|u1", [1], 1]
    with pytest.raises(ClientError, match="belong once"):
        read_answer(_head(replace(ANSWER, body=b"r\x00\x01"), arrays=[entry, entry]))


def test_a_vector_beyond_the_limit_is_not_looked_at() -> None:
    with pytest.raises(ClientError, match="vector of its answer must have at most 1000 bytes, got 1004"):
        read_answer(replace(ANSWER, vector=bytes(1004)), 1000)


def test_a_reason_is_cut_and_cannot_move_a_terminal() -> None:
    decoded = read_answer(encode_answer(_ask(), Answer(None, "failed", "no\n\x1b[2J\r\u202e" + "x" * 10**5, "Hof")))
    assert decoded.reason.startswith("no  [2J  xxx")
    assert len(decoded.reason) == 2000


def test_a_vector_of_half_numbers_is_refused() -> None:
    for read, whole in ((read_ask, encode_ask(_ask())), (read_answer, ANSWER)):
        with pytest.raises(ClientError, match="must have 4 bytes a parameter"):
            read(replace(whole, vector=whole.vector[:-1]))


def _reads(parcel: Parcel) -> None:
    for read in (read_ask, read_answer):
        with contextlib.suppress(ClientError):
            read(parcel)


@settings(deadline=None, max_examples=60)
@given(_answers(), st.data())
def test_a_flipped_bit_or_a_lost_end_is_read_or_refused(both: tuple[Ask, Answer], data: st.DataObject) -> None:
    for parcel in (encode_ask(both[0]), encode_answer(*both)):
        part = data.draw(st.sampled_from(["head", "body", "vector"]))
        content = bytearray(getattr(parcel, part))
        if content:
            place = data.draw(st.integers(0, 8 * len(content) - 1))
            if data.draw(st.booleans()):
                content[place // 8] ^= 1 << place % 8
            else:
                del content[place // 8 :]
        _reads(replace(parcel, **{part: bytes(content)}))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.binary(max_size=20), st.binary(max_size=9))
def test_no_bytes_whatever_raise_anything_else(head: bytes, body: bytes, vector: bytes) -> None:
    _reads(Parcel(head, body, vector))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
KEYS = ["protocol", "werkbund", "kind", "round", "attempt", "client", "arrays", "run", "name", "briefing", "brief"]


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from([*KEYS, "code", "reason", "fingerprint"]), VALUES, max_size=3))
def test_no_head_whatever_raises_anything_else(changes: dict[str, Any]) -> None:
    for whole in (encode_ask(_ask()), ANSWER, REFUSAL):
        _reads(_head(whole, **changes))


def test_the_deepest_head_that_can_be_read_is_read_or_refused() -> None:
    for depth in range(880, 1010, 3):
        for key in KEYS:
            deep = b"[" * depth + b"]" * depth
            whole = json.loads(encode_ask(_ask()).head)
            rest = json.dumps({name: value for name, value in whole.items() if name != key})[:-1].encode()
            _reads(replace(ANSWER, head=rest + b',"' + key.encode() + b'":' + deep + b"}"))


def test_the_limit_is_the_one_that_is_told() -> None:
    assert codec.MOST_SMALL_BYTES == 64 * 2**20
