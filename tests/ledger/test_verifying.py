from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.conftest import KEY, checked, opened, written
from werkbund.core.errors import ConfigError
from werkbund.core.keys import new_key
from werkbund.ledger import Head, Ledger, Receipt, verified
from werkbund.ledger.lines import canonical, digest_of, signed_line

ORDER = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
"""Of the curve P-384."""


def _whole(number: int = 4) -> tuple[list[bytes], list[Receipt]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        receipts = written(path, number)
        return path.read_bytes().splitlines(), receipts


LINES, RECEIPTS = _whole()


def _fault(lines: Sequence[bytes], receipts: list[Receipt] | None = None, end: bytes = b"\n") -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        path.write_bytes(b"\n".join(lines) + (end if lines else b""))
        found = checked(path, receipts)
        return found.line, found.fault


def test_a_whole_ledger_is_whole(tmp_path: Path) -> None:
    receipts = written(tmp_path / "ledger.jsonl")
    found = checked(tmp_path / "ledger.jsonl", receipts)
    assert (found.line, found.fault, len(found.entries), found.num_receipts) == (0, "", 4, 4)
    assert found.head == receipts[-1].head
    assert [entry["round"] for entry in found.entries] == [0, 1, 2, 3]


@settings(max_examples=100, deadline=None)
@given(line=st.integers(0, len(LINES) - 1), data=st.data())
def test_any_other_byte_anywhere_is_found(line: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(LINES[line]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != LINES[line][place]))
    changed = LINES[line][:place] + bytes([byte]) + LINES[line][place + 1 :]
    number, fault = _fault([*LINES[:line], changed, *LINES[line + 1 :]])
    assert fault
    assert number == line + 1


def test_each_byte_of_a_lines_signature_counts() -> None:
    """Also those of its text that decode alike, which are among the last."""
    line = LINES[0]
    end = line.index(b'"', line.index(b'"sig":"') + 7)
    for place in range(end - 4, end):
        for number in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=":
            if number != line[place]:
                assert _fault([line[:place] + bytes([number]) + line[place + 1 :]])[0] == 1


@given(place=st.integers(0, len(LINES) - 2))
def test_a_line_taken_out_is_found(place: int) -> None:
    assert _fault([*LINES[:place], *LINES[place + 1 :]])[0] == place + 1


@given(first=st.integers(0, len(LINES) - 1), second=st.integers(0, len(LINES) - 1))
def test_lines_that_have_changed_places_are_found(first: int, second: int) -> None:
    lines = list(LINES)
    lines[first], lines[second] = lines[second], lines[first]
    assert _fault(lines)[0] == (0 if first == second else min(first, second) + 1)


@given(place=st.integers(0, len(LINES) - 1))
def test_a_line_that_stands_twice_is_found(place: int) -> None:
    number, fault = _fault([*LINES[: place + 1], *LINES[place:]])
    assert number == place + 2
    assert "stand twice" in fault


@given(left=st.integers(0, len(LINES) - 1))
def test_a_cut_end_is_found_by_the_servers_receipts_alone(left: int) -> None:
    assert _fault(LINES[:left]) == (0, "")
    number, fault = _fault(LINES[:left], RECEIPTS)
    assert number == left + 1
    assert "is missing" in fault
    assert f"line {left + 1}" in fault


def test_a_last_line_without_an_end_is_found() -> None:
    assert _fault(LINES, end=b"")[0] == len(LINES)
    assert _fault([*LINES, b"{"], end=b"")[0] == len(LINES) + 1


@given(since=st.integers(0, len(LINES) - 1))
def test_a_fork_is_found_by_the_servers_receipts_alone(since: int) -> None:
    """The plant itself writes another history from some line on, all signed by its own key."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in LINES[:since]))
        ledger = opened(path)
        for round in range(since, len(LINES)):
            ledger.add("answer", {"round": round, "left": ["less"]})
        assert checked(path).fault == ""
        found = checked(path, RECEIPTS)
    assert found.line == since + 1
    assert "another one than the server was shown" in found.fault


def test_another_ones_key_is_found(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.jsonl", new_key()
    written(path, 2)
    opened(path, other).add("answer", {"round": 3})
    assert checked(path).line == 3
    assert "not the plant's" in checked(path).fault
    assert checked(path, key=other).line == 1


def test_a_line_that_names_the_plants_key_and_is_signed_by_another_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    entry = {name: value for name, value in json.loads(LINES[0]).items() if name != "sig"}
    path.write_bytes(signed_line(entry, new_key()) + b"\n")
    assert "signature" in checked(path).fault


def test_the_other_form_of_a_signature_is_found_by_the_line_behind_it_or_the_receipt() -> None:
    """Who has (r, s) can make (r, n - s), which is a signature of the same line too."""
    entry = json.loads(LINES[1])
    r, s = decode_dss_signature(base64.b64decode(entry["sig"]))
    other = canonical({**entry, "sig": base64.b64encode(encode_dss_signature(r, ORDER - s)).decode()})
    assert _fault([LINES[0], other]) == (0, "")
    assert _fault([LINES[0], other, *LINES[2:]])[0] == 3
    assert _fault([LINES[0], other], RECEIPTS[:2])[0] == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seq": 7}, "lines are missing"),
        ({"prev": "1" * 96}, "does not follow"),
        ({"time": "2025-01-01T00:00:00Z"}, "the one before is of"),
        ({"time": "yesterday"}, "is of yesterday"),
        ({"v": 2}, "format 2"),
        ({"plant": "bremen"}, "bremen"),
    ],
)
def test_what_the_plant_itself_may_not_write_is_found_by_line(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.jsonl"
    entry = {name: value for name, value in json.loads(LINES[1]).items() if name != "sig"} | changes
    path.write_bytes(LINES[0] + b"\n" + signed_line(entry, KEY) + b"\n")
    found = checked(path)
    assert (found.line, len(found.entries)) == (2, 1)
    assert says in found.fault


def test_a_receipt_of_a_line_behind_a_bad_one_says_nothing_more() -> None:
    receipt = replace(RECEIPTS[-1], head=Head(9, digest_of(b"")))
    number, fault = _fault([LINES[0], LINES[2]], [receipt])
    assert (number, "lines are missing" in fault) == (2, True)


def test_further_rules_name_their_line(tmp_path: Path) -> None:
    written(tmp_path / "ledger.jsonl")
    found = verified(tmp_path / "ledger.jsonl", [KEY.public_key()], rules=[lambda entries: iter([(3, "too much")])])
    assert (found.line, found.fault) == (3, "too much")


def test_a_ledger_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="readable file"):
        checked(tmp_path / "ledger.jsonl")


def test_an_empty_ledger_is_whole(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(b"")
    assert checked(tmp_path / "ledger.jsonl").to_json()["lines"] == 0


def test_who_has_changed_key_is_verified_by_both(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.jsonl", new_key()
    written(path, 2)
    Ledger(path, "augsburg", other, lambda: datetime(2027, 1, 1, tzinfo=UTC)).add("answer", {})
    assert verified(path, [KEY.public_key(), other.public_key()]).fault == ""
