from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from werkbund.core import DataError
from werkbund.report.folder import read_run


def test_a_finished_run_is_read_whole(finished: Path) -> None:
    run = read_run(finished)
    assert run.result is not None
    assert run.skew is not None
    assert run.card is not None
    assert len(run.trained) == 120
    assert len(run.rounds) == 121
    assert [line.name for line in run.result.clients] == list(run.clients)
    assert set(run.result.cost_curve) == {"threshold", *run.result.scores}
    assert run.config.startswith("[federation]")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be a folder that holds run\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["rounds.jsonl", "result.json", "model_card.json", "config.toml"])
def test_each_file_but_the_first_may_be_missing(sample: Callable[..., Path], tmp_path: Path, name: str) -> None:
    folder = sample(tmp_path / "run", rounds=3)
    (folder / name).unlink()
    assert read_run(folder).name == "ai4i-ten-plants"


def test_a_run_without_a_name_has_its_folders(tmp_path: Path) -> None:
    folder = tmp_path / "tuesday"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    assert read_run(folder).name == "tuesday"


def test_a_line_cut_off_by_a_kill_is_left_out(sample: Callable[..., Path], tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=3, finished=False)
    with (folder / "rounds.jsonl").open("a") as records:
        records.write('{"round": 4, "coho')
    assert [line.round for line in read_run(folder).rounds] == [1, 2, 3]


def test_a_round_written_again_after_a_resume_counts_once(sample: Callable[..., Path], tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=3, finished=False)
    with (folder / "rounds.jsonl").open("a") as records:
        records.write(json.dumps({"round": 2, "loss": 0.25}) + "\n")
    rounds = read_run(folder).rounds
    assert [line.round for line in rounds] == [1, 2, 3]
    assert rounds[1].loss == 0.25


@pytest.mark.parametrize("broken", ["not json", "[]", "{}", '{"round": "first"}', '{"round": 1, "loss": "low"}'])
def test_a_broken_line_is_named(sample: Callable[..., Path], tmp_path: Path, broken: str) -> None:
    folder = sample(tmp_path / "run", rounds=2, finished=False)
    text = (folder / "rounds.jsonl").read_text()
    (folder / "rounds.jsonl").write_text(broken + "\n" + text)
    with pytest.raises(DataError, match=r"rounds\.jsonl line 1 must be a round's record"):
        read_run(folder)


@pytest.mark.parametrize(("text", "rule"), [("{", "must be JSON"), ("[1]", "must hold one JSON object")])
def test_a_damaged_file_is_named(sample: Callable[..., Path], tmp_path: Path, text: str, rule: str) -> None:
    folder = sample(tmp_path / "run", rounds=2)
    (folder / "result.json").write_text(text)
    with pytest.raises(DataError, match=rf"result\.json {rule}"):
        read_run(folder)


def test_text_in_another_encoding_is_named(sample: Callable[..., Path], tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=2)
    (folder / "config.toml").write_bytes("name = 'Gießen'".encode("latin-1"))
    with pytest.raises(DataError, match=r"config\.toml must be UTF-8"):
        read_run(folder)


def test_a_result_of_another_shape_is_refused(sample: Callable[..., Path], tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=2)
    (folder / "result.json").write_text(json.dumps({"per_client": [{"f1": 0.5}]}))
    with pytest.raises(DataError, match="was not written by this version, or was edited"):
        read_run(folder)


def test_a_failure_is_named_by_its_clients_name(finished: Path) -> None:
    run = read_run(finished)
    assert run.client("3") == "Plant 4"
    assert run.client("10") == "10"
    assert run.client("a gateway") == "a gateway"
