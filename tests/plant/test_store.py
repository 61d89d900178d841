"""What a plant's folder holds survives its processes, stays small, and is never half written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date, datetime
from pathlib import Path

import pytest

from werkbund.core.errors import CheckpointError, ModelError
from werkbund.plant.store import PlantFolder


@pytest.fixture
def folder(tmp_path: Path) -> PlantFolder:
    return PlantFolder(tmp_path / "state")


def delivered(folder: PlantFolder, content: str) -> Path:
    path = folder.new_model_folder()
    (path / "model.onnx").write_text(content)
    return path


def in_use(folder: PlantFolder) -> str:
    current = folder.current()
    assert current is not None
    return (current / "model.onnx").read_text()


def files_in(folder: PlantFolder) -> set[str]:
    return {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()}


def test_reading_an_empty_folder_writes_nothing(folder: PlantFolder) -> None:
    assert folder.counters() == {}
    assert (folder.recorded_reply("a"), folder.briefing("b"), folder.current()) == (None, None, None)
    assert folder.events() == []
    assert not folder.path.exists()


def test_rounds_are_counted_by_day_in_every_process(folder: PlantFolder) -> None:
    for day in (date(2026, 3, 4), datetime(2026, 3, 4, 23, 59), datetime(2026, 3, 5, 0, 0)):
        PlantFolder(folder.path).count_round(day)
    assert folder.counters() == {"2026-03-04": 2, "2026-03-05": 1}


def test_only_the_last_days_are_remembered(folder: PlantFolder) -> None:
    for month in (1, 2, 3):
        for day in range(1, 29):
            folder.count_round(date(2026, month, day))
    assert len(folder.counters()) == 31
    assert max(folder.counters()) == "2026-03-28"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"rounds": 3}', '{"rounds": {"2026-03-04": "x"}}', '{"rounds": {"2026-03-04": -1}}', "[" * 10**6],
)
def test_damaged_counters_do_not_lift_a_limit(folder: PlantFolder, content: str) -> None:
    folder.count_round(date(2026, 3, 4))
    (folder.path / "counters.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"counters\.json .*restore it or remove it"):
        folder.counters()


def test_a_reply_is_found_again_by_its_task(folder: PlantFolder) -> None:
    folder.remember_reply("run/3/0/train", b"first", 3)
    folder.remember_reply("run/3/0/evaluate", b"second", 3)
    again = PlantFolder(folder.path)
    assert (again.recorded_reply("run/3/0/train"), again.recorded_reply("run/3/0/evaluate")) == (b"first", b"second")
    assert again.recorded_reply("run/3/1/train") is None


def test_replies_of_the_last_two_rounds_are_kept_whatever_their_numbers(folder: PlantFolder) -> None:
    for round in (7, 8, 9, 1):  # another run began
        for kind in ("train", "evaluate"):
            folder.remember_reply(f"{round}{kind}", str(round).encode(), round)
    assert [round for round in (7, 8, 9, 1) if folder.recorded_reply(f"{round}train")] == [9, 1]
    assert len(files_in(folder)) == 4


def test_replies_without_a_round_are_bounded_too(folder: PlantFolder) -> None:
    for number in range(30):
        folder.remember_reply(f"task {number}", b"reply")
    assert len(files_in(folder)) == 8
    assert folder.recorded_reply("task 29") == b"reply"


def test_a_task_answered_again_has_its_last_answer_alone(folder: PlantFolder) -> None:
    for answer in (b"one", b"other"):
        folder.remember_reply("task", answer, 1)
    assert folder.recorded_reply("task") == b"other"
    assert len(files_in(folder)) == 1


def test_names_that_a_server_chose_do_not_become_paths(folder: PlantFolder) -> None:
    for name in ("../../escape", "/etc/passwd", "*", "", "a" * 5000, "ä\0"):
        folder.remember_reply(name, name.encode(), 1)
        folder.save_briefing(name, name.encode())
        assert folder.recorded_reply(name) == folder.briefing(name) == name.encode()
    assert {path.parent.name for path in folder.path.rglob("*") if path.is_file()} == {"replies", "briefings"}
    assert [path.name for path in folder.path.parent.iterdir()] == ["state"]


def test_the_last_briefings_are_kept(folder: PlantFolder) -> None:
    for number in range(6):
        folder.save_briefing(f"print {number}", str(number).encode())
    folder.save_briefing("print 3", b"again")
    kept = {number: folder.briefing(f"print {number}") for number in range(6)}
    assert kept == {0: None, 1: None, 2: b"2", 3: b"again", 4: b"4", 5: b"5"}


def test_a_model_is_used_once_it_is_accepted(folder: PlantFolder) -> None:
    one = delivered(folder, "one")
    assert folder.current() is None
    folder.accept(one)
    assert in_use(folder) == "one"
    delivered(folder, "refused")
    assert in_use(PlantFolder(folder.path)) == "one"


def test_five_models_are_kept_and_refused_ones_are_not(folder: PlantFolder) -> None:
    for number in range(8):
        delivered(folder, "refused")
        folder.accept(delivered(folder, str(number)))
    models = [path for path in (folder.path / "models").iterdir() if path.is_dir()]
    assert sorted((path / "model.onnx").read_text() for path in models) == ["3", "4", "5", "6", "7"]


def test_refused_models_do_not_pile_up(folder: PlantFolder) -> None:
    folder.accept(delivered(folder, "used"))
    paths = [delivered(folder, "refused") for _ in range(9)]
    assert len({path.name for path in paths}) == 9
    assert len(list((folder.path / "models").glob("[0-9]*"))) == 3
    assert in_use(folder) == "used"


def test_a_rollback_goes_back_one_model_at_a_time(folder: PlantFolder) -> None:
    for content in ("one", "two", "three"):
        folder.accept(delivered(folder, content))
    assert (folder.rollback() / "model.onnx").read_text() == "two" == in_use(folder)
    assert (folder.rollback() / "model.onnx").read_text() == "one" == in_use(folder)
    with pytest.raises(ModelError, match=r"needs a previous model.*the only model"):
        folder.rollback()
    assert in_use(folder) == "one"
    folder.accept(delivered(folder, "four"))
    assert (folder.rollback() / "model.onnx").read_text() == "one"


def test_a_rollback_without_any_model_is_refused(folder: PlantFolder) -> None:
    with pytest.raises(ModelError, match=r"needs a previous model.*no accepted model"):
        folder.rollback()


def test_a_model_that_somebody_removed_is_passed_over(folder: PlantFolder) -> None:
    for content in ("one", "two", "three"):
        folder.accept(delivered(folder, content))
    two = folder.path / "models" / "2"
    (two / "model.onnx").unlink()
    two.rmdir()
    assert (folder.rollback() / "model.onnx").read_text() == "one"


def test_another_folder_cannot_be_accepted(folder: PlantFolder, tmp_path: Path) -> None:
    delivered(folder, "one")
    for wrong in (tmp_path, folder.path / "models", folder.path / "models" / "99"):
        with pytest.raises(ModelError, match="must lie in a folder of"):
            folder.accept(wrong)


def test_accepting_again_changes_nothing(folder: PlantFolder) -> None:
    one, two = (delivered(folder, content) for content in ("one", "two"))
    folder.accept(two)
    folder.accept(two)
    assert in_use(folder) == "two"
    assert not one.exists()


def test_events_are_lines_with_time_and_facts(folder: PlantFolder) -> None:
    folder.event("asked", kind_of_task="train", round=3, num_bytes=120)
    folder.event("refused", reason="policy.pause is set", where=Path("x"), loss=float("nan"))
    first, second = folder.events()
    assert (first["kind"], first["kind_of_task"], first["round"]) == ("asked", "train", 3)
    assert (second["where"], second["loss"]) == ("x", None)
    assert datetime.fromisoformat(first["time"]).tzinfo is not None


def test_a_line_that_was_cut_short_spoils_no_other(folder: PlantFolder) -> None:
    folder.event("one")
    with (folder.path / "events.jsonl").open("a") as file:
        file.write('{"time": "2026')
    folder.event("two")
    assert [event["kind"] for event in folder.events()] == ["one", "two"]


def test_only_the_plant_may_look_inside(folder: PlantFolder) -> None:
    folder.remember_reply("task", b"update", 1)
    folder.accept(delivered(folder, "model"))
    for path in (folder.path / "replies", folder.path / "models", folder.path / "models" / "1"):
        assert path.stat().st_mode & 0o077 == 0


BUSY = """
import sys
from datetime import date
from pathlib import Path
from werkbund.plant.store import PlantFolder

folder = PlantFolder(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    folder.count_round(date(2026, 3, 4))
    folder.remember_reply(f"task {number}", b"x" * 200_000 + str(number).encode(), number)
    path = folder.new_model_folder()
    (path / "model.onnx").write_text(str(number))
    folder.accept(path)
    folder.event("answered", number=number)
    print(number, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.003, 0.011, 0.023])
def test_a_kill_at_any_moment_loses_nothing_that_was_accepted(folder: PlantFolder, delay_s: float) -> None:
    command = [sys.executable, "-c", BUSY, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout is not None
        for _ in range(7):
            busy.stdout.readline()
        time.sleep(delay_s)
        os.kill(busy.pid, signal.SIGKILL)
        said = [int(line) for line in busy.stdout.read().split()]
    done = max([7, *said])  # all that the process said is done; the next may be as well
    assert folder.counters()["2026-03-04"] in (done, done + 1)
    reply = folder.recorded_reply(f"task {done}")
    assert reply is not None
    assert len(reply) == 200_000 + len(str(done))
    assert int(in_use(folder)) in (done, done + 1)
    assert [event["number"] for event in folder.events()][:done] == list(range(1, done + 1))
    folder.remember_reply("after", b"reply", done + 2)
    folder.accept(delivered(folder, "after"))
    assert in_use(folder) == "after"
    assert not [name for name in files_in(folder) if name.startswith("replies/.")]
    assert json.loads((folder.path / "counters.json").read_text())["rounds"]
