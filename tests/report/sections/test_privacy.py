"""The section about what the server saw says what was hidden, from whom not, and what that took."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from werkbund.report.folder import read_run
from werkbund.report.sections.privacy import promised, seen


@pytest.fixture
def hidden(finished: Path, tmp_path: Path) -> Path:
    """Give a finished run in which updates came in sums alone, with two round trips a round."""
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    about = json.loads((folder / "run.json").read_text())
    about["server_sees"] = {"sums": ["the update"], "each": ["its rows"]}
    (folder / "run.json").write_text(json.dumps(about))
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    text = "".join(json.dumps({**line, "sum_trips": 2, "bytes_up": 1e6}) + "\n" for line in lines)
    (folder / "rounds.jsonl").write_text(text)
    return folder


def test_a_run_in_clear_says_that_every_answer_was_seen(finished: Path) -> None:
    section = seen(read_run(finished))
    assert "every answer of each plant" in section.lead
    (table,) = section.tables
    assert {how for _, how in table.rows} == {"of each plant"}


def test_a_run_of_sums_says_what_was_hidden_and_who_could_still_know(hidden: Path) -> None:
    run = read_run(hidden)
    section = seen(run)
    assert "no plant's own" in section.lead
    assert f"{len(run.clients) - 1} plants of {len(run.clients)} that put their own parts together" in section.lead
    what, took = section.tables
    assert what.rows == (("the update", "in sums over several plants alone"), ("its rows", "of each plant"))
    facts = {row[0]: row[1] for row in took.rows}
    assert facts["Round trips of secure sums"] == str(2 * len(run.rounds))
    assert facts["A round"] == "2.0"
    assert facts["Bytes from the plants"].startswith(f"{len(run.rounds):.1f} MB")


@pytest.mark.parametrize("written", [None, 3, [], {"sums": None}, {"each": [None]}])
def test_what_was_edited_breaks_no_page(written: object, finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    about = {**json.loads((folder / "run.json").read_text()), "server_sees": written}
    (folder / "run.json").write_text(json.dumps(about))
    assert seen(read_run(folder)).key == "seen"


PROMISE = {
    "unit": "machine",
    "relation": "add or remove one",
    "delta": 1e-3,
    "mechanism": "noise",
    "epsilon": 7.96,
    "clients": [{"client": "a", "trainings": 5, "noise": 0.68, "epsilon": 7.96}],
    "not_charged": ["who took part"],
}


def _with_promise(finished: Path, folder: Path, told: object) -> Path:
    shutil.copytree(finished, folder)
    result = {**json.loads((folder / "result.json").read_text()), "privacy": told}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_a_promise_is_told_with_unit_relation_delta_and_what_it_does_not_cover(finished: Path, tmp_path: Path) -> None:
    section = promised(read_run(_with_promise(finished, tmp_path / "run", PROMISE)))
    for part in ("a machine (add or remove one)", "epsilon 7.96 at most", "delta 0.001"):
        assert part in section.lead
    spent, uncovered = section.tables
    assert spent.rows == (("a", "5", "0.68", "7.96"),)
    assert uncovered.rows == (("who took part",),)


def test_noise_by_the_seed_and_an_unknown_epsilon_are_said_to_protect_nobody(finished: Path, tmp_path: Path) -> None:
    seeded = promised(read_run(_with_promise(finished, tmp_path / "seeded", {**PROMISE, "seeded": True})))
    assert "It protects nobody" in seeded.lead
    unknown = promised(read_run(_with_promise(finished, tmp_path / "unknown", {**PROMISE, "epsilon": None})))
    assert "no bound" in unknown.lead


def test_a_run_without_a_promise_says_so(finished: Path) -> None:
    section = promised(read_run(finished))
    assert not section.lead
    assert "promised nothing" in section.absent
