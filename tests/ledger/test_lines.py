from __future__ import annotations

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import CheckpointError
from werkbund.ledger import canonical, digest_of
from werkbund.ledger.lines import Head, entry_in

GOLDEN = {"seq": 1, "plant": "augsburg", "round": 3, "kind": "answer", "prev": "0" * 96}

WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ASCII = st.text(st.characters(max_codepoint=127))
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ASCII, inner, max_size=4),
    max_leaves=12,
)


def test_a_line_written_by_hand_has_the_bytes_and_the_digest_of_the_reference() -> None:
    assert len(canonical(GOLDEN)) == 160
    assert digest_of(canonical(GOLDEN)) == (
        "1133fb3a1434a6982fe875b5bf704b2c53998894dd674dfe52704bcd1a0215a7f33956a56b8797e4fd597fb8b20a38d6"
    )


@given(VALUES)
def test_the_canonical_form_is_that_of_another_implementation(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(TEXT)
def test_a_hostile_text_does_not_break_its_line(text: str) -> None:
    assert b"\n" not in canonical({"reason": text})


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, -(2**53), b"x", {1: 2}, {"ä": 1}, {"a": [{"b": 0.0}]}])
def test_what_has_no_canonical_form_here_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        canonical(value)


def test_half_of_a_pair_of_surrogates_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical({"a": chr(0xD800)})


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b"{", b'{"v":1}', b'{ "v":1}', b'{"v":1.0}', b"[" * 100_000, b"1" * 5000, b"\xff"]
)
def test_what_is_no_entry_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(CheckpointError):
        entry_in(line)


def test_a_head_must_be_a_number_and_a_digest() -> None:
    assert Head(0, hashlib.sha384(b"").hexdigest()).is_wellformed
    assert not Head(-1, "0" * 96).is_wellformed
    assert not Head(0, "0" * 95).is_wellformed
    assert not Head(0, "g" * 96).is_wellformed
