"""Whatever fails at a plant ends in a refusal in clear words, and the next task is answered."""

from __future__ import annotations

import io
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.exceptions import ComputeError, PanicException

from tests.deployed import deploy
from tests.flower.plant.test_answering import Server
from tests.wire import read_answer
from werkbund.core.errors import CheckpointError, DataError
from werkbund.flower.plant.answering import Desk
from werkbund.flower.wire.codec import Answer, encode_ask, encode_whoami
from werkbund.flower.wire.parcel import Parcel, read_parcel, write_parcel
from werkbund.plant.offers import OFFERS

ROW = "row-4711"


class OwnBaseError(BaseException):
    """Be an error that is no `Exception`, as some libraries have."""


FAILURES: list[BaseException] = [
    PanicException(ROW),
    OwnBaseError(ROW),
    GeneratorExit(ROW),
    MemoryError(ROW),
    RecursionError(ROW),
    AssertionError(ROW),
    StopIteration(ROW),
    KeyError(ROW),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, ROW),
    ComputeError(ROW),
    DataError(ROW),
    CheckpointError(ROW),
    OSError(28, ROW),
    OSError(30, ROW),
    TimeoutError(ROW),
    BrokenPipeError(32, ROW),
]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: Any) -> Server:
    return Server(deploy(tmp_path_factory.mktemp("failures") / "it", data={"rows": 450}))


@pytest.fixture
def server(laid_out: Server) -> Iterator[Server]:
    """Give a plant that has answered nothing yet."""
    shutil.rmtree(state(laid_out), ignore_errors=True)
    yield laid_out
    remove(state(laid_out))


def without_ledger(parcel: Parcel) -> Parcel:
    """Return an answer without how far its plant's ledger goes, which is farther each time."""
    head = {name: value for name, value in json.loads(parcel.head).items() if name != "ledger"}
    return replace(parcel, head=json.dumps(head).encode())


def state(server: Server) -> Path:
    return server.deployment.kits["plant-1"] / "state"


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def asked(desk: Desk, server: Server, kind: str, round: int = 1, **how: Any) -> Answer:
    return read_answer(desk.answer(encode_ask(server.ask(kind, round, **how))))


def is_alive(desk: Desk) -> bool:
    return read_answer(desk.answer(encode_whoami())).name == "plant-1"


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: f"{type(error).__name__}")
def test_an_error_of_any_kind_is_a_refusal_whose_text_stays_at_the_plant(error: BaseException, server: Server) -> None:
    def fails(plot: Any) -> Any:
        raise error

    offers = [replace(offer, handler=fails) if offer.kind.name == "evaluate" else offer for offer in OFFERS]
    desk = Desk(server.deployment.plant("plant-1", offers=offers))
    answer = asked(desk, server, "evaluate")
    assert (answer.replies, answer.code, answer.name) == (None, "failed", "plant-1")
    assert ROW not in answer.reason
    assert len(answer.reason) > 20
    record = [event for event in server.deployment.store("plant-1").events() if event["kind"] == "error"]
    assert [event["task"] for event in record] == ["evaluate"]
    assert type(error).__name__ in record[0]["error"]
    assert asked(desk, server, "train").replies is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_not_an_answer(error: type[BaseException], server: Server) -> None:
    def ends(plot: Any) -> Any:
        raise error

    desk = Desk(server.deployment.plant("plant-1", offers=[replace(offer, handler=ends) for offer in OFFERS]))
    with pytest.raises(error):
        asked(desk, server, "train")


DEEP = b"[" * 1_000_000
PARCELS = {
    "a deep head": Parcel(DEEP),
    "a deep value in a head": Parcel(b'{"protocol": 1, "werkbund": ' + DEEP + b"}"),
    "a deep brief": Parcel(b'{"protocol": 1, "brief": ' + b'{"a":' * 500_000),
    "an empty parcel": Parcel(b""),
    "a head of nothing": Parcel(b"null"),
    "a huge number": Parcel(b'{"protocol": 1, "round": ' + b"9" * 100_000 + b"}"),
    "half a letter": Parcel(b'{"protocol": 1, "name": "\\ud800"}'),
    "no text": Parcel(b"\xff\xfe" * 100),
}


@pytest.mark.parametrize("name", PARCELS)
def test_a_parcel_that_is_no_task_is_refused(name: str, server: Server) -> None:
    desk = server.desk()
    answer = read_answer(desk.answer(PARCELS[name]))
    assert (answer.replies, answer.code, answer.name) == (None, "protocol", "plant-1")
    assert asked(desk, server, "hello").replies is not None


DESCRIPTIONS = st.lists(
    st.tuples(
        st.sampled_from(["shared", "own", "sums", "elsewhere"]),
        st.sampled_from(["weights", "rate", "x"]),
        st.sampled_from(["<f4", "<f8", "text", "|O", "<i8", "|b1"]),
        st.sampled_from(["<f4", "|u1", "text", "|O"]),
        st.lists(st.sampled_from([-1, 0, 1, 2**31, 2**62, 10**30]), max_size=5),
        st.sampled_from([-1, 0, 4, 2**33, 2**63, 10**30]),
    ).map(list),
    max_size=3,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=DESCRIPTIONS, body=st.binary(max_size=40), cut=st.integers(0, 400))
def test_lengths_that_lie_are_refused(arrays: list[Any], body: bytes, cut: int, laid_out: Server) -> None:
    desk, parcel = laid_out.desk(), encode_ask(laid_out.ask("train"))
    lying = json.dumps(json.loads(parcel.head) | {"arrays": arrays}).encode()
    for one in (replace(parcel, head=lying, body=body), replace(parcel, body=parcel.body[:cut])):
        answer = read_answer(desk.answer(one))
        assert answer.replies is None or one.body == parcel.body
        assert answer.replies is not None or answer.reason
    assert is_alive(desk)


def damaged_by(name: str) -> Callable[[Path], object]:
    ways: dict[str, Callable[[Path], object]] = {
        "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "emptied": lambda path: path.write_bytes(b""),
        "one bit turned": lambda path: path.write_bytes(_turned(path.read_bytes())),
        "of another type": lambda path: path.write_bytes(b'{"rounds": [1], "versions": {"a": null}}'),
        "a list": lambda path: path.write_bytes(b"[3, null]"),
        "too deep": lambda path: path.write_bytes(DEEP),
        "noise": lambda path: path.write_bytes(np.random.default_rng(1).bytes(999)),
        "a folder": _made_a_folder,
    }
    return ways[name]


def _made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")


def _turned(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


WAYS = ["cut short", "emptied", "one bit turned", "of another type", "a list", "too deep", "noise", "a folder"]


def _only(folder: Path) -> Path:
    (file,) = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return file


@pytest.mark.parametrize("way", WAYS)
def test_a_recorded_answer_that_was_damaged_is_made_again(way: str, server: Server) -> None:
    given = server.desk().answer(encode_ask(server.ask("train")))
    damaged_by(way)(_only(state(server) / "replies"))
    again = server.desk().answer(encode_ask(server.ask("train")))
    assert without_ledger(again) == without_ledger(given)
    events = server.deployment.store("plant-1").events()
    (told,) = [event for event in events if event["kind"] == "damaged"]
    assert "replies" in told["error"]
    assert server.desk().answer(encode_ask(server.ask("train"))) == again
    assert json.loads((state(server) / "ledger.jsonl").read_bytes().splitlines()[-1])["again"]


@pytest.mark.parametrize("way", WAYS)
def test_a_remembered_description_that_was_damaged_is_asked_for_again(way: str, server: Server) -> None:
    assert asked(server.desk(), server, "hello").replies is not None
    damaged_by(way)(_only(state(server) / "briefings"))
    desk = server.desk()
    answer = asked(desk, server, "train", briefed=False)
    assert (answer.replies, answer.code) == (None, "briefing")
    assert any(event["kind"] == "damaged" for event in server.deployment.store("plant-1").events())
    assert asked(desk, server, "train").replies is not None
    assert asked(server.desk(), server, "train", 2, briefed=False).replies is not None, "it is remembered anew"


@pytest.mark.parametrize("way", ["cut short", "emptied", "of another type", "a list", "too deep", "noise", "a folder"])
def test_counters_that_were_damaged_lift_no_limit(way: str, server: Server) -> None:
    assert asked(server.desk(), server, "train").replies is not None
    damaged_by(way)(state(server) / "counters.json")
    desk = server.desk()
    answer = asked(desk, server, "train", 2)
    assert (answer.replies, answer.code) == (None, "failed")
    assert "keeps for itself was damaged" in answer.reason
    assert any("counters.json" in str(event.get("error")) for event in server.deployment.store("plant-1").events())
    remove(state(server) / "counters.json")
    assert asked(desk, server, "train", 2).replies is not None


@pytest.mark.parametrize("way", ["cut short", "emptied", "a list", "too deep", "noise", "a folder"])
def test_a_held_update_that_was_damaged_is_not_forgotten_silently(way: str, server: Server) -> None:
    assert asked(server.desk(), server, "hold").replies is not None
    damaged_by(way)(_only(_only(state(server) / "notes")))
    desk = server.desk()
    answer = asked(desk, server, "upload")
    assert (answer.replies, answer.code) == (None, "failed")
    assert "keeps for itself was damaged" in answer.reason
    assert is_alive(desk)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "one bit turned"])  # it may still be a list
def test_a_list_of_models_that_was_damaged_is_a_refusal(way: str, server: Server) -> None:
    store = server.deployment.store("plant-1")
    store.accept(store.new_model_folder())
    damaged_by(way)(state(server) / "models" / "current.json")
    desk = server.desk()
    answer = asked(desk, server, "deliver", 0)
    assert (answer.replies, answer.code) == (None, "failed")
    assert "keeps for itself was damaged" in answer.reason
    assert is_alive(desk)


WRITTEN = {"counters.json", "models/current.json", "events.jsonl", "ledger.jsonl"}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60),
    which=st.sampled_from(sorted(WRITTEN)),
)
def test_whatever_stands_in_a_state_file_a_task_is_answered_or_refused(
    content: bytes, which: str, laid_out: Server
) -> None:
    (state(laid_out) / which).parent.mkdir(parents=True, exist_ok=True)
    (state(laid_out) / which).write_bytes(content)
    desk = laid_out.desk()
    for kind, round in (("train", 1), ("deliver", 0)):
        answer = asked(desk, laid_out, kind, round, run=content.hex() or "none")
        assert answer.replies is not None or answer.reason
    (state(laid_out) / which).unlink(missing_ok=True)


def _full(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("/dev/full")


def _file(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")


def _file_of_a_line(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("x\n")


def _folder(path: Path) -> None:
    path.mkdir(parents=True)


BLOCKED: dict[str, tuple[Callable[[Path], None], str]] = {
    "the state is a file": (_file, ""),
    "the ledger is on a full disk": (_full, "ledger.jsonl"),
    "the ledger is a folder": (_folder, "ledger.jsonl"),
    "the ledger was damaged": (_file_of_a_line, "ledger.jsonl"),
    "the ledger's key is open to others": (_file, "ledger.key"),
    "answers cannot be kept": (_file, "replies"),
    "the counters are a folder": (_folder, "counters.json"),
    "notes cannot be kept": (_file, "notes"),
    "descriptions cannot be kept": (_file, "briefings"),
}


@pytest.mark.parametrize("how", BLOCKED)
def test_a_plant_that_cannot_write_down_what_it_answered_does_not_answer(how: str, server: Server) -> None:
    block, name = BLOCKED[how]
    block(state(server) / name)
    desk = server.desk()
    kind = "hold" if "notes" in how else "train"
    for _ in range(2):
        answer = asked(desk, server, kind)
        assert (answer.replies, answer.code) == (None, "failed")
        assert "cannot read or write its own files (" in answer.reason or "was damaged" in answer.reason
        assert str(state(server)) not in answer.reason
    assert is_alive(desk)
    remove(state(server))
    assert asked(desk, server, kind).replies is not None, "mended, it goes on without a restart"


def test_an_answer_is_not_sent_again_where_that_cannot_be_written_down(server: Server) -> None:
    desk = server.desk()
    assert asked(desk, server, "train").replies is not None
    (state(server) / "ledger.jsonl").unlink()
    _full(state(server) / "ledger.jsonl")
    assert asked(desk, server, "train").replies is None


@pytest.mark.parametrize("limit", [0, 100, 2000])
def test_a_worker_on_a_full_disk_refuses_and_stays(limit: int, server: Server) -> None:
    command = [sys.executable, "-m", "werkbund.flower.plant.answering", str(server.deployment.kits["plant-1"])]
    questions = io.BytesIO()
    for parcel in (*(encode_ask(server.ask(kind)) for kind in ("hello", "survey", "train", "train")), encode_whoami()):
        write_parcel(questions, parcel)
    done = subprocess.run(
        command,
        input=questions.getvalue(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    stream = io.BytesIO(done.stdout)
    answers = [read_answer(parcel) for parcel in iter(lambda: read_parcel(stream), None)]
    assert [answer.name for answer in answers] == ["plant-1"] * 5
    assert all(answer.replies is None for answer in answers[2:4])
    assert all("(File too large)" in answer.reason for answer in answers[2:4])
