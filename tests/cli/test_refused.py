"""What the operating system refuses ends every command in one line with a remedy, and loses nothing."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from werkbund.cli import app
from werkbund.config import check_config
from werkbund.federation import run
from werkbund.flower.provision import provision
from werkbund.plant.shares import write_parts

LONG = "x" * 300
"""A name that no file can have."""


@contextmanager
def limited(which: int, most: int) -> Iterator[None]:
    """Have the operating system refuse more: bytes in a file, or open files."""
    soft, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(which, (soft, hard))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out a finished run, kits, a table and a configuration."""
    place = tmp_path_factory.mktemp("made")
    config = check_config(
        {
            "federation": {"rounds": 1},
            "data": {"source": "generator", "rows": 600, "plants": 3},
            "model": {"kind": "logistic"},
            "training": {"batched": False, "compiled": False},
        }
    )
    run(config, out=place / "run", compare=False)
    (_, rows), *_ = write_parts(place, 3, config)
    rows.rename(place / "rows.csv")
    provision(config, place / "kits", ["plant-a"], ["localhost"])
    shutil.copy(place / "rows.csv", place / "kits" / "plant-a" / "rows.csv")
    client = place / "kits" / "plant-a" / "client.toml"
    client.write_text(client.read_text().replace('path = ""', 'path = "rows.csv"'))
    shutil.copy(place / "run" / "config.toml", place / "federation.toml")
    (place / "a-file").write_text("x")
    (place / "a-folder").mkdir()
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "place"
    shutil.copytree(made, copy)
    monkeypatch.chdir(copy)
    return copy


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def is_one_line(result: Result) -> str:
    """Return the one line of error, of a command that ended with it and not with a traceback."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    assert result.stderr.rstrip().endswith(lines[0])
    assert "Traceback" not in result.stderr
    return lines[0]


BAD_PLACES: dict[str, tuple[list[str], str]] = {
    "run, out below a file": (["run", "federation.toml", "--out", "a-file/run"], "a-file"),
    "run, out too long": (["run", "federation.toml", "--out", LONG], "choose a shorter name"),
    "run, out too long inside": (["run", "federation.toml", "--out", f"a/{LONG}/b"], "choose a shorter name"),
    "run, a configuration too long": (["run", LONG], LONG),
    "run, a configuration that is a folder": (["run", "a-folder"], "a-folder"),
    "run, data that is a folder": (["run", "federation.toml", "--data", "a-folder"], "a-folder"),
    "run, data too long": (["run", "federation.toml", "--data", f"{LONG}.csv"], "choose a shorter name"),
    "resume, a file": (["resume", "a-file"], "a-file"),
    "resume, too long": (["resume", LONG], "choose a shorter name"),
    "predict, out below a file": (["predict", "run", "rows.csv", "--out", "a-file/x.csv"], "a-file"),
    "predict, out a folder": (["predict", "run", "rows.csv", "--out", "a-folder"], "a-folder"),
    "predict, out too long": (["predict", "run", "rows.csv", "--out", f"{LONG}.parquet"], "choose a shorter name"),
    "predict, out on a full disk": (["predict", "run", "rows.csv", "--out", "/dev/full"], "free some space"),
    "predict, no folder for out": (["predict", "run", "rows.csv", "--out", "no/x.csv"], "make the folder first"),
    "predict, data too long": (["predict", "run", f"{LONG}.csv"], "choose a shorter name"),
    "predict, a run too long": (["predict", LONG, "rows.csv"], LONG),
    "check, data too long": (["check", f"{LONG}.parquet"], "choose a shorter name"),
    "check, a configuration below a file": (["check", "rows.csv", "a-file/federation.toml"], "a-file"),
    "init, out below a file": (["init", "rows.csv", "--label", "Machine failure", "--out", "a-file/x"], "a-file"),
    "init, no folder for out": (
        ["init", "rows.csv", "--label", "Machine failure", "--out", "no/x.toml"],
        "make the folder first",
    ),
    "init, out too long": (["init", "rows.csv", "--label", "Machine failure", "--out", LONG], "choose a shorter name"),
    "report, too long": (["report", LONG], "choose a shorter name"),
    "provision, out below a file": (
        ["provision", "federation.toml", "--client", "b", "--host", "h", "--out", "a-file/kits"],
        "a-file",
    ),
    "provision, out too long": (
        ["provision", "federation.toml", "--client", "b", "--host", "h", "--out", LONG],
        "choose a shorter name",
    ),
    "provision, a key that is a folder": (
        ["provision", "--out", "kits", "--add", "b", "--public-key", "b=a-folder"],
        "a-folder",
    ),
    "client check, too long": (["client", "check", LONG], "choose a shorter name"),
    "client check, below a file": (["client", "check", "a-file/kit"], "a-file"),
    "client pause, too long": (["client", "pause", LONG], "choose a shorter name"),
    "client keygen, out below a file": (["client", "keygen", "--out", "a-file/x"], "a-file"),
    "client models, too long": (["client", "models", LONG], "choose a shorter name"),
    "server status, too long": (["server", "status", LONG], "choose a shorter name"),
    "server backup, out below a file": (["server", "backup", "kits/server", "--out", "a-file/x"], "a-file"),
    "up, out too long": (["up", "federation.toml", "--out", LONG], "choose a shorter name"),
    "bench, out below a file": (["bench", "federation.toml", "--out", "a-file/x"], "a-file"),
    "compare, out too long": (["compare", "federation.toml", "--out", LONG], "choose a shorter name"),
}


@pytest.mark.parametrize("case", BAD_PLACES)
def test_a_place_that_cannot_be_used_is_named_in_one_line(case: str, place: Path) -> None:
    arguments, said = BAD_PLACES[case]
    before = content(place)
    assert said in is_one_line(called(*arguments))
    assert content(place).items() >= before.items()


def _unfinished(place: Path, arguments: list[str]) -> None:
    """Leave a run that is to be resumed as if it had been stopped in its last moments."""
    if arguments[0] == "resume":
        (place / "run" / "result.json").unlink()


WRITING: dict[str, list[str]] = {
    "run": ["run", "federation.toml", "--no-compare", "--out", "new"],
    "resume": ["resume", "run"],
    "predict": ["predict", "run", "rows.csv", "--out", "scored.csv"],
    "predict, Parquet": ["predict", "run", "rows.csv", "--out", "scored.parquet"],
    "init": ["init", "rows.csv", "--label", "Machine failure", "--out", "drafted.toml"],
    "report": ["report", "run"],
    "provision": ["provision", "federation.toml", "--client", "b", "--host", "h", "--out", "more"],
    "provision --add": ["provision", "--out", "kits", "--add", "b"],
    "client pause": ["client", "pause", "kits/plant-a"],
    "client keygen": ["client", "keygen", "--out", "a-folder"],
}


@pytest.mark.parametrize("most", [0, 150])
@pytest.mark.parametrize("case", WRITING)
def test_a_full_disk_is_one_line_and_leaves_what_was_there(case: str, most: int, place: Path) -> None:
    _unfinished(place, WRITING[case])
    before = content(place)
    with limited(resource.RLIMIT_FSIZE, most):
        result = called(*WRITING[case])
    assert "File too large" in is_one_line(result)
    after = content(place)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed <= {"run/rounds.jsonl"} if case == "resume" else not changed
    assert not (place / "scored.csv").exists()
    again = called(*[*WRITING[case][:-1], "new-2"] if case == "run" else WRITING[case])
    assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize("case", ["predict", "report", "provision", "client pause", "init"])
def test_too_many_open_files_are_one_line(case: str, place: Path) -> None:
    assert called("strategies").exit_code == 0
    free = os.open(os.devnull, os.O_RDONLY)  # the lowest number that no open file has
    os.close(free)
    with limited(resource.RLIMIT_NOFILE, free):
        result = called(*WRITING[case])
    assert "ulimit -n" in is_one_line(result) or "Too many open files" in is_one_line(result)


def _a_folder_at(*names: str) -> Callable[[Path], None]:
    def spoil(place: Path) -> None:
        for name in names:
            (place / name).unlink(missing_ok=True)
            (place / name).mkdir()

    return spoil


FOLDERS: dict[str, tuple[str, list[str]]] = {
    "report": ("run/report.html", ["report", "run"]),
    "resume": ("run/checkpoint.npz", ["resume", "run"]),
    "resume, rounds": ("run/rounds.jsonl", ["resume", "run"]),
    "predict": ("run/model/model.json", ["predict", "run", "rows.csv"]),
    "client check": ("kits/plant-a/client.toml", ["client", "check", "kits/plant-a"]),
    "client pause": ("kits/plant-a/client.toml", ["client", "pause", "kits/plant-a"]),
    "check": ("federation.toml", ["check", "rows.csv", "federation.toml"]),
    "provision": ("kits/ca/members.json", ["provision", "--out", "kits", "--add", "b"]),
    "server status": ("kits/server/server.toml", ["server", "status", "kits/server"]),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_where_a_file_should_be_is_one_line(case: str, place: Path) -> None:
    name, arguments = FOLDERS[case]
    _unfinished(place, arguments)
    _a_folder_at(name)(place)
    assert is_one_line(called(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["strategies", "--json"],
        ["check", "rows.csv", "federation.toml", "--json"],
        ["predict", "run", "rows.csv"],
        ["client", "check", "kits/plant-a"],
        ["report", "run"],
    ],
)
def test_output_to_a_full_disk_is_one_line(arguments: list[str], place: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "werkbund", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.count("Error: ") == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
