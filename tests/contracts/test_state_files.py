"""Whatever stands in a file that Werkbund wrote for itself: it is read, or refused in an error that names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from werkbund.config import check_config
from werkbund.core.errors import FederationError
from werkbund.core.stored import read_stored
from werkbund.evaluation.watch import Nobody
from werkbund.federation import run
from werkbund.federation.folder import Folder
from werkbund.flower.machine.connection import Lease
from werkbund.flower.machine.pidfile import claimed, read_record
from werkbund.flower.provision import provision
from werkbund.flower.provision.members import Members
from werkbund.flower.server.control import Node
from werkbund.flower.server.kit import load_server_settings
from werkbund.flower.server.status import run_number, status_of
from werkbund.flower.server.submission import attach, run_summary
from werkbund.ledger import Head, Receipts
from werkbund.model import load_model
from werkbund.model.reference import ModelReference
from werkbund.plant.checking import models
from werkbund.plant.store import PlantFolder
from werkbund.report import read_run, write_report
from werkbund.server.progress import ProgressFile, follow

PLAIN = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=4)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@dataclass(frozen=True)
class StateFile:
    """Say where a file lies, who reads it, and whether a fault in it is passed over instead of told."""

    path: str
    read: Callable[[Path], Any]
    tolerant: bool = False
    in_lines: bool = False


def _follow(place: Path) -> str:
    return follow(place / "run", Nobody(), lambda checks: None, lambda: "gone")


def _status(place: Path) -> Any:
    online = Node(1, "plant-a", "online", "", "", "", b"")
    return status_of(load_server_settings(place / "kits" / "server"), [online]).to_json()


def _show_models(place: Path) -> Any:
    return models(place / "kits" / "plant-a")


def _summary(place: Path) -> Any:
    return run_summary(place / "run")


def _settings(place: Path) -> Any:
    return load_server_settings(place / "kits" / "server")


FILES = {
    "run.json": StateFile("run/run.json", lambda place: Folder(place / "run").read_json("run.json")),
    "run.json, summary": StateFile("run/run.json", _summary),
    "run.json, report": StateFile("run/run.json", lambda place: write_report(place / "run")),
    "result.json": StateFile("run/result.json", _summary),
    "result.json, report": StateFile("run/result.json", lambda place: write_report(place / "run")),
    "model_card.json": StateFile("run/model_card.json", lambda place: write_report(place / "run")),
    "rounds.jsonl": StateFile("run/rounds.jsonl", lambda place: read_run(place / "run"), in_lines=True),
    "progress.jsonl": StateFile("run/progress.jsonl", _follow, in_lines=True),
    "model.json": StateFile("run/model/model.json", lambda place: load_model(place / "run" / "model")),
    "reference.json": StateFile("run/reference.json", lambda place: ModelReference.read(place / "run").columns.keys()),
    "members.json": StateFile(
        "kits/ca/members.json", lambda place: Members.read(place / "kits" / "ca" / "members.json").active
    ),
    "node.json": StateFile("node.json", lambda place: Lease(place / "node.json").node_id, tolerant=True),
    "server.json": StateFile("server.json", lambda place: read_record(place / "server.json"), tolerant=True),
    "receipts.jsonl": StateFile(
        "run/receipts.jsonl", lambda place: Receipts(place / "run").of("plant-a"), in_lines=True
    ),
    "running.json": StateFile("run/running.json", lambda place: attach(_settings(place), place / "run")),
    "running.json of a server": StateFile(
        "kits/server/runs/it/running.json", lambda place: run_number(_settings(place), "it")
    ),
    "run.json of a server": StateFile("kits/server/runs/it/run.json", _status, tolerant=True),
    "rounds.jsonl of a server": StateFile("kits/server/runs/it/rounds.jsonl", _status, tolerant=True, in_lines=True),
    "preflight.json of a server": StateFile("kits/server/runs/it/preflight.json", _status, tolerant=True),
    "progress.jsonl of a server": StateFile(
        "kits/server/runs/it/progress.jsonl", _status, tolerant=True, in_lines=True
    ),
    "a delivered card": StateFile("kits/plant-a/state/models/1/model_card.json", _show_models),
    "current.json": StateFile("kits/plant-a/state/models/current.json", _show_models),
    "counters.json": StateFile(
        "kits/plant-a/state/counters.json", lambda place: PlantFolder(place / "kits" / "plant-a" / "state").counters()
    ),
    "events.jsonl": StateFile(
        "kits/plant-a/state/events.jsonl",
        lambda place: PlantFolder(place / "kits" / "plant-a" / "state").events(),
        tolerant=True,
        in_lines=True,
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out a run, a server with that run, and a plant that has a model."""
    place = tmp_path_factory.mktemp("state-files")
    config = check_config(
        {
            "federation": {"rounds": 1},
            "data": {"source": "generator", "rows": 450, "plants": 3},
            "model": {"kind": "logistic"},
            "training": {"batched": False, "compiled": False},
        }
    )
    progress = ProgressFile(Folder(place))
    done = run(config, out=place / "run", compare=False, watcher=progress)
    progress.checks([{"client": "a", "level": "ok", "what": "x", "remedy": ""}])
    progress.end("over")
    (place / "progress.jsonl").rename(place / "run" / "progress.jsonl")
    provision(config, place / "kits", ["plant-a"], ["localhost"])
    server = Folder.create("x", place / "kits" / "server" / "runs" / "it")
    for name in ("config.toml", "run.json", "rounds.jsonl", "progress.jsonl"):
        (server.path / name).write_bytes((done.folder / name).read_bytes())
    server.write_json("preflight.json", {"facts": {"plant-a": {"rows": 3, "versions": {"werkbund": "0.1.0"}}}})
    plant = PlantFolder(place / "kits" / "plant-a" / "state")
    model = plant.new_model_folder()
    card = {"received": "2026-11-30T10:00:00+00:00", "name": "it", "here": {"reason": "better"}}
    (model / "model_card.json").write_text(json.dumps(card))
    plant.accept(model)
    plant.event("asked")
    Receipts(place / "run").keep("plant-a", Head(0, "0" * 96), "train", 1)
    Lease(place / "node.json").remember(17)
    return place


def _usual(place: Path, file: StateFile) -> Any:
    path = place / file.path
    if not path.exists():
        return {"pid": 1, "identity": "x", "run": 3}
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines()] if file.in_lines else json.loads(text)


def _spoilt(usual: Any, value: Any, data: st.DataObject) -> Any:
    """Put a value in the place of some part."""
    if not isinstance(usual, dict | list) or not usual or data.draw(st.integers(0, 3)) == 0:
        return value
    where = data.draw(st.sampled_from(list(usual) if isinstance(usual, dict) else list(range(len(usual)))))
    if isinstance(usual, dict) and data.draw(st.integers(0, 4)) == 0:
        return {key: inner for key, inner in usual.items() if key != where}
    inner = _spoilt(usual[where], value, data)
    if isinstance(usual, dict):
        return {**usual, where: inner}
    return [*usual[:where], inner, *usual[where + 1 :]]


def _refusal(file: StateFile, place: Path) -> str:
    try:
        file.read(place)
    except FederationError as error:
        return str(error)
    return ""


def _check_with(content: bytes, file: StateFile, place: Path) -> str:
    """Return why a content is refused; empty if it is read."""
    path = place / file.path
    before = path.read_bytes() if path.exists() else None
    try:
        path.write_bytes(content)
        said = _refusal(file, place)
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    assert not (file.tolerant and said)
    folder = {Path(file.path).name, str(path.parent), str(path.parent.name)}
    assert not said or any(name in said for name in folder)
    return said


@pytest.mark.parametrize("name", FILES)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, data=st.data())
def test_any_value_is_read_or_refused_by_name(name: str, value: Any, data: st.DataObject, place: Path) -> None:
    file = FILES[name]
    spoilt = _spoilt(_usual(place, file), value, data)
    if file.in_lines:
        lines = spoilt if isinstance(spoilt, list) else [spoilt]
        content = "".join(json.dumps(line) + "\n" for line in lines)
    else:
        content = json.dumps(spoilt)
    _check_with(content.encode(), file, place)


BROKEN = [b"", b"{", b"[]\n", b"3\n", b"null\n", b'"x"\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"9" * 5000 + b"\n"]


@pytest.mark.parametrize("content", BROKEN, ids=[repr(content[:6]) for content in BROKEN])
@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_refused_by_name_or_passed_over(name: str, content: bytes, place: Path) -> None:
    said = _check_with(content, FILES[name], place)
    assert said or FILES[name].tolerant or FILES[name].in_lines or content == b""


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("running.json")])
def test_a_file_as_it_was_written_is_read(name: str, place: Path) -> None:
    if (place / FILES[name].path).exists():
        assert _refusal(FILES[name], place) == ""
    else:
        assert name in ("server.json", "counters.json")


def test_every_kind_of_state_file_is_covered() -> None:
    assert len(FILES) == 24


@settings(deadline=None, max_examples=100)
@given(value=VALUES)
def test_what_is_read_is_what_was_written_and_of_the_form(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("stored") / "x.json"
    path.write_text(json.dumps({"numbers": value, "more": 1}))
    try:
        read = read_stored(path, dict[str, list[int] | int], "mend it")
    except FederationError as error:
        read = str(error)
    fits = isinstance(value, int) or (isinstance(value, list) and all(type(each) is int for each in value))
    if fits and not isinstance(value, bool):
        assert read == {"numbers": value, "more": 1}
    else:
        assert "x.json cannot be used: numbers" in read
        assert read.endswith("; mend it")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("werkbund.server.progress._PAUSE_S", 0.0)


def test_a_claim_writes_what_is_read(tmp_path: Path) -> None:
    with claimed(tmp_path / "x.json", "it", {"run": 3}):
        assert (read_record(tmp_path / "x.json") or {}).get("run") == 3
