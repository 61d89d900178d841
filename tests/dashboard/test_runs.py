from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.dashboard.comparing import differences, tags
from werkbund.dashboard.runs import RunList, WatchedRun
from werkbund.dashboard.standing import FAILED, IDLE, cells, plants
from werkbund.dashboard.view import MOST_EVENTS, events, rounds, state
from werkbund.dashboard.words import LANGUAGES, WORDS, Phrases
from werkbund.report.folder import RoundsFile, read_run
from werkbund.report.values import RoundLine

Sample = Callable[..., Path]


def _add(folder: Path, **line: object) -> None:
    with (folder / "rounds.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_looking_changes_nothing_in_a_folder(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "runs" / "one", rounds=5)
    (folder / ".lock").write_text(str(os.getpid()))
    before = _contents(tmp_path)
    for seen in RunList(tmp_path / "runs").all():
        state(seen, Phrases("en"), {})
    assert _contents(tmp_path) == before


def test_what_was_added_is_read_as_a_fresh_reader_reads_it(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=3, finished=False)
    watched = WatchedRun(folder, "run")
    first = watched.look()
    assert watched.look() is first
    _add(folder, round=4, cohort=[0, 1], failures=[])
    _add(folder, round=3, cohort=[9], failures=[])
    assert watched.look().run.rounds == read_run(folder).rounds
    assert [line.round for line in watched.look().run.rounds] == [1, 2, 3, 4]


def test_a_line_counts_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    reader = RoundsFile(path)
    assert reader.read() == ()
    path.write_text('{"round": 1}\n{"rou')
    assert [line.round for line in reader.read()] == [1]
    with path.open("a") as file:
        file.write('nd": 2}\n')
    assert [line.round for line in reader.read()] == [1, 2]


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    path.write_text('{"round": 1}\n{"round": 2}\n')
    reader = RoundsFile(path)
    reader.read()
    (tmp_path / "new").write_text('{"round": 1, "loss": 0.5}\n')
    (tmp_path / "new").replace(path)
    assert [(line.round, line.loss) for line in reader.read()] == [(1, 0.5)]


@given(
    st.lists(st.integers(0, 5), max_size=6, unique=True),
    st.lists(st.integers(0, 5), max_size=6, unique=True),
)
def test_each_client_has_one_letter_and_failures_win(cohort: list[int], failed: list[int]) -> None:
    line = RoundLine.parse(
        {"round": 1, "cohort": cohort, "failures": [{"client": each, "reason": "away"} for each in failed]}
    )
    told = cells(line, 6)
    assert len(told) == 6
    assert {client for client, letter in enumerate(told) if letter == FAILED} == set(failed)
    assert {client for client, letter in enumerate(told) if letter == IDLE} == set(range(6)) - set(cohort) - set(failed)


def test_runs_are_found_by_listing_and_links_are_not_followed(sample: Sample, tmp_path: Path) -> None:
    sample(tmp_path / "elsewhere" / "secret", rounds=1)
    sample(tmp_path / "runs" / "compare" / "seed-0", rounds=1)
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere")
    runs = RunList(tmp_path / "runs")
    assert [seen.label for seen in runs.all()] == ["compare/seed-0"]
    assert runs.one("../elsewhere/secret") is None


def test_one_runs_folder_is_a_place_of_runs_too(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "tuesday", rounds=1)
    assert [seen.label for seen in RunList(folder).all()] == ["tuesday"]


def test_a_place_that_is_not_there_yet_holds_no_run(tmp_path: Path) -> None:
    assert RunList(tmp_path / "runs").all() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", "[]"),
        ("run.json", "{"),
        ("config.toml", "a = "),
        ("rounds.jsonl", "{}\n"),
        ("result.json", "7"),
        ("preflight.json", "{"),
    ],
)
def test_a_damaged_folder_is_named_and_hides_no_other(sample: Sample, tmp_path: Path, name: str, content: str) -> None:
    sample(tmp_path / "good", rounds=2)
    sample(tmp_path / "bad", rounds=2)
    (tmp_path / "bad" / name).write_text(content)
    seen = {each.label: each for each in RunList(tmp_path).all()}
    assert seen["good"].state == "finished"
    assert seen["bad"].state == "damaged"
    assert seen["bad"].fault
    assert state(seen["bad"], Phrases("en"), {})["run"]["fault"] == seen["bad"].fault


def test_a_damaged_folder_that_is_mended_is_read_again(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=2)
    whole = (folder / "result.json").read_text()
    (folder / "result.json").write_text("{")
    watched = WatchedRun(folder, "run")
    assert watched.look().state == "damaged"
    (folder / "result.json").write_text(whole)
    assert watched.look().state == "finished"


ALIVE = "this process"
"""Stands for the id of the process that runs the tests, which is no name for a test."""


@pytest.mark.parametrize(
    ("lock", "progress", "expected"),
    [
        (ALIVE, "", "running"),
        ("", "", "stopped"),
        ("999999999", "", "stopped"),
        ("no number", "", "stopped"),
        ("", '{"end": "too few plants"}\n', "failed"),
        ("", '{"end": ""}\n', "stopped"),
        (ALIVE, '{"end": "too few plants"}\n', "running"),
    ],
)
def test_how_a_run_stands_follows_from_its_folder(
    sample: Sample, tmp_path: Path, lock: str, progress: str, expected: str
) -> None:
    folder = sample(tmp_path / "run", rounds=2, finished=False)
    if lock:
        (folder / ".lock").write_text(str(os.getpid()) if lock == ALIVE else lock)
    if progress:
        (folder / "progress.jsonl").write_text(progress)
    seen = WatchedRun(folder, "run").look()
    assert seen.state == expected
    assert seen.fault == ("too few plants" if expected == "failed" else "")


def test_a_plant_fails_and_comes_back(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=0, finished=False)
    (folder / ".lock").write_text(str(os.getpid()))
    watched = WatchedRun(folder, "run")
    _add(folder, round=1, cohort=[0, 1], failures=[{"client": 1, "reason": "no answer\x1b[2J"}])
    named = plants(watched.look(), {})
    assert [plant["state"] for plant in named[:3]] == ["training", "failed", "training"]
    assert named[1]["reason"].startswith("no answer")
    assert (named[1]["chosen"], named[1]["failed"], named[1]["answered"]) == (1, 1, None)
    told = [event["text"] for event in events(watched.look(), Phrases("en"))]
    assert told[0] == "Plant 2 gave no usable answer: no answer [2J"
    _add(folder, round=2, cohort=[0, 1], failures=[])
    assert plants(watched.look(), {})[1]["state"] == "training"
    assert events(watched.look(), Phrases("de"))[0]["text"] == "Wieder dabei: Plant 2"


def test_a_plant_that_stays_away_is_told_once(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=0, finished=False)
    for number in range(1, 6):
        _add(folder, round=number, cohort=[0, 1], failures=[{"client": 1, "reason": "away"}])
    told = [event for event in events(WatchedRun(folder, "run").look(), Phrases("en")) if event["level"] == "error"]
    assert [(event["round"], event["text"]) for event in told] == [(1, "Plant 2 gave no usable answer: away")]


def test_events_are_the_newest_ones_where_there_are_many(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=0, finished=False)
    for number in range(1, 2 * MOST_EVENTS):
        _add(folder, round=number, cohort=[0], failures=[{"client": 0, "reason": f"reason {number}"}])
    told = events(WatchedRun(folder, "run").look(), Phrases("en"))
    assert len(told) == MOST_EVENTS + 1
    assert told[1]["round"] == 2 * MOST_EVENTS - 1
    assert told[-1]["text"] == "The run began with 10 plants"


def test_a_server_says_who_is_connected(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=1, finished=False)
    clients = {"Plant 1": {"name": "Plant 1", "state": "offline", "last_seen": "2 min ago"}}
    named = plants(WatchedRun(folder, "run").look(), clients)
    assert (named[0]["online"], named[0]["seen"], named[1]["online"]) == ("offline", "2 min ago", None)


def test_rounds_after_a_number_are_the_rest_of_all(finished: Path) -> None:
    seen = WatchedRun(finished, "run").look()
    everything = rounds(seen)
    assert rounds(seen, 118) == everything[118:]
    assert [line["round"] for line in everything] == list(range(1, 122))
    assert everything[-1]["cells"] == ""


def test_what_the_page_is_told_are_the_figures_of_the_result(finished: Path) -> None:
    told = state(WatchedRun(finished, "run").look(), Phrases("en"), {})
    result = json.loads((finished / "result.json").read_text())
    assert [plant["federated"] for plant in told["plants"]] == [
        line["average_precision"] for line in result["per_client"]
    ]
    assert told["run"]["best_round"] == result["best_round"]
    assert told["run"]["outcome"] == "pays"


def test_runs_that_differ_in_no_key_have_no_differences(finished: Path) -> None:
    seen = WatchedRun(finished, "run").look()
    assert differences([seen, seen]) == []
    assert "seed 7" in tags(seen)


def test_both_languages_say_everything_with_the_same_gaps() -> None:
    assert len(LANGUAGES) == 2
    for key, both in WORDS.items():
        assert all(both), key
        english, german = (set(text.replace("{", "\0{").split("\0")[1:]) for text in both)
        assert {gap.split("}")[0] for gap in english} == {gap.split("}")[0] for gap in german}, key
