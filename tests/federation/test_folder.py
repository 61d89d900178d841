"""A run's folder: one at a time works in it, and what was edited in it is told by name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL, Small
from tests.deployed import deploy
from werkbund.config import changed, check_config
from werkbund.core.errors import CheckpointError, ConfigError, FederationError
from werkbund.evaluation.watch import Nobody
from werkbund.federation import resume, run
from werkbund.federation.folder import Folder

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
RESUME = "import sys; from pathlib import Path; from werkbund.federation import resume; resume(Path(sys.argv[1]))"


class Meeting(Nobody):
    """Do something in the middle of a run."""

    def __init__(self, act: Any) -> None:
        self._act = act

    def round(self, news: Any) -> None:
        self._act()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = check_config({**SMALL, "federation": {"rounds": 2}, "training": {"batched": False, "compiled": False}})
    return run(config, out=tmp_path_factory.mktemp("done") / "run", compare=False).folder


@pytest.fixture
def folder(done: Path, tmp_path: Path) -> Path:
    shutil.copytree(done, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_in_progress_is_neither_resumed_nor_begun_again(small: Small, tmp_path: Path) -> None:
    said: list[str] = []

    def try_both() -> None:
        with pytest.raises(ConfigError) as error:
            resume(tmp_path / "run")
        said.append(str(error.value))
        with pytest.raises(ConfigError) as error:
            run(small(), out=tmp_path / "run")
        said.append(str(error.value))

    run(small(federation={"rounds": 1}), out=tmp_path / "run", compare=False, watcher=Meeting(try_both))
    assert f"the run in {tmp_path / 'run'} must run once, but process {os.getpid()} runs it already" in said[0]
    assert "must name a new or empty folder" in said[1]


def test_of_two_resumes_at_once_one_goes_on(folder: Path) -> None:
    outcomes: list[str] = []

    def go_on() -> None:
        try:
            resume(folder, Meeting(lambda: together.wait(60)))
            outcomes.append("done")
        except ConfigError as error:
            outcomes.append(str(error))
            together.set()

    together = threading.Event()
    threads = [threading.Thread(target=go_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[0] == "done"
    assert "runs it already; stop that one first" in sorted(outcomes)[1]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_resume_that_was_killed_locks_nobody_out(folder: Path) -> None:
    with Folder(folder).in_use():
        done = subprocess.run([sys.executable, "-c", RESUME, str(folder)], capture_output=True, text=True, check=False)
    assert "must run once" in done.stderr
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom pathlib import Path\nfrom werkbund.federation.folder import Folder\n"
            "with Folder(Path(sys.argv[1])).in_use():\n    print('in', flush=True)\n    time.sleep(600)",
            str(folder),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert resume(folder).folder == folder


def test_a_real_run_in_progress_is_not_resumed(tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "it", data={"rows": 450}, federation={"rounds": 1})
    said: list[str] = []

    def try_it() -> None:
        with pytest.raises(ConfigError) as error:
            deployment.resume()
        said.append(str(error.value))

    deployment.run(watcher=Meeting(try_it))
    assert said
    assert all("must run once" in text for text in said)


EDITS = [
    ("federation.seed", {"federation": {"seed": 4}}),
    ("federation.rounds", {"federation": {"rounds": 1}}),
    ("federation.quorum", {"federation": {"quorum": 0.4}}),
    ("training.learning_rate", {"training": {"learning_rate": 0.07}}),
    ("training.epochs", {"training": {"epochs": 3}}),
    ("clients.count", {"clients": {"count": 2}}),
    ("evaluation.missed_failure", {"evaluation": {"missed_failure": 9.0}}),
    ("strategy.selection.fraction", {"strategy": {"selection": {"fraction": 0.5}}}),
]


@pytest.mark.parametrize(("key", "edit"), EDITS)
def test_an_edited_configuration_is_refused_by_its_key(key: str, edit: dict[str, Any], folder: Path) -> None:
    place = Folder(folder)
    before = place.read_config()
    place.write_config(changed(before, **edit))
    with pytest.raises(CheckpointError, match=rf"config\.toml was edited .*{key} was .* and is .*; restore that"):
        resume(folder)
    place.write_config(before)
    assert resume(folder).summary["rounds"] == 2


def test_a_comment_in_the_configuration_is_no_edit(folder: Path) -> None:
    path = folder / "config.toml"
    path.write_text("# seen by the auditor\n" + path.read_text())
    assert resume(folder).summary["rounds"] == 2


def test_the_configuration_of_a_real_run_is_refused_when_edited(tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "it", data={"rows": 450}, federation={"rounds": 1})
    place = Folder(deployment.run().folder)
    place.write_config(changed(place.read_config(), training={"learning_rate": 0.5}))
    with pytest.raises(CheckpointError, match=r"training\.learning_rate was"):
        deployment.resume()


def refusal(folder: Path) -> str:
    """Return why run.json and the configuration are not gone on with; empty if they are."""
    try:
        Folder(folder).check_not_edited(Folder(folder).read_json("run.json"))
    except CheckpointError as error:
        return str(error)
    return ""


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, data=st.data())
def test_whatever_stands_in_run_json_is_refused_by_name(value: Any, data: st.DataObject, done: Path) -> None:
    whole = json.loads((done / "run.json").read_text())
    keys = ["name", "created", "werkbund", "seed", "data", "clients", "layout", "preparation", "config", "compare"]
    key = data.draw(st.sampled_from([None, *keys]))
    written = value if key is None else {**whole, key: value}
    before = (done / "run.json").read_bytes()
    try:
        (done / "run.json").write_text(json.dumps(written))
        said = refusal(done)
        fits = key is not None and type(value) is type(whole[key])
        assert fits or "run.json" in said
        assert not said or "run.json" in said or "config.toml" in said
    finally:
        (done / "run.json").write_bytes(before)


@pytest.mark.parametrize("key", ["name", "created", "werkbund", "seed", "data", "clients", "layout", "config"])
def test_a_key_that_is_missing_from_run_json_is_named(key: str, folder: Path) -> None:
    about = json.loads((folder / "run.json").read_text())
    del about[key]
    (folder / "run.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=rf"run\.json cannot be used: {key} is missing; restore it"):
        resume(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 10**6, b"null", b'{"name": 3}'])
@pytest.mark.parametrize("name", ["run.json", "checkpoint.npz", "config.toml"])
def test_a_file_of_a_run_that_was_damaged_is_named(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(FederationError, match=name.replace(".", r"\.")):
        resume(folder)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_a_line_of_rounds_that_is_none_is_named_with_its_number(
    value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Folder(tmp_path_factory.mktemp("rounds"))
    good = '{"round": 1, "cohort": [0]}\n'
    line = json.dumps(value)
    (folder.path / "rounds.jsonl").write_text(f"{good}{line}\n{good}")
    with pytest.raises(CheckpointError, match=r"rounds\.jsonl, line 2, cannot be .*remove that line"):
        folder.forget_rounds_after(1)
    (folder.path / "rounds.jsonl").write_text(f"{good}{line}")
    folder.forget_rounds_after(1)
    assert (folder.path / "rounds.jsonl").read_text() == good, "a last line that was cut short is let go"


@settings(deadline=None, max_examples=60)
@given(value=st.dictionaries(st.text(max_size=5), VALUES, max_size=4), data=st.data())
def test_a_sealed_file_is_read_as_it_was_written_or_not_at_all(
    value: dict[str, Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Folder(tmp_path_factory.mktemp("sealed"))
    folder.write_sealed("learnt.json", value)
    read = folder.read_sealed("learnt.json")
    other = {**read, data.draw(st.text(max_size=3)): data.draw(VALUES)}
    folder.write_sealed("again.json", read)
    assert folder.read_sealed("again.json") == read
    content = json.loads((folder.path / "learnt.json").read_text())
    (folder.path / "learnt.json").write_text(json.dumps({**other, "sha256": content["sha256"]}))
    if json.dumps(other, sort_keys=True) != json.dumps(read, sort_keys=True):
        with pytest.raises(CheckpointError, match=r"learnt\.json was changed after it was written"):
            folder.read_sealed("learnt.json")
