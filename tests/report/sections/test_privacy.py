"""The section about what the server saw says what was hidden, from whom not, and what that took."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from werkbund.report.folder import read_run
from werkbund.report.sections.privacy import seen


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
    facts = dict(took.rows)
    assert facts["Round trips of secure sums"] == str(2 * len(run.rounds))
    assert facts["A round"] == "2.0"
    assert facts["Bytes from the plants"].startswith(f"{len(run.rounds):.1f} MB")


@pytest.mark.parametrize("written", [None, 3, [], {"sums": None}, {"each": [None]}])
def test_what_was_edited_breaks_no_page(written: object, finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    about = {**json.loads((folder / "run.json").read_text()), "server_sees": written}
    (folder / "run.json").write_text(json.dumps(about))
    assert seen(read_run(folder)).key == "seen"
