from __future__ import annotations

import csv
import html
import io
import itertools
import json
import re
import shutil
import zipfile
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.deployed import Deployment, deploy, learnt
from tests.wire import kind_of
from werkbund.audit.evidence import checked_ledger, write_evidence
from werkbund.audit.pages import pairs, plain_page
from werkbund.cli import app
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.core.keys import fingerprint, new_key, read_private_key, ssh_private, ssh_public
from werkbund.data.answers import SURVEY
from werkbund.flower.wire.codec import decode_answer, encode_whoami
from werkbund.ledger import Head, Receipts
from werkbund.ledger.tables import COLUMNS, to_csv


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, Path]:
    """Ask three plants for their survey, and keep the receipts as a server does; return the folder of the run."""
    deployment = deploy(tmp_path_factory.mktemp("evidence") / "it", data={"rows": 450})
    for kit in deployment.kits.values():
        (kit / "client.key").touch(0o600)
        (kit / "client.key").write_bytes(ssh_private(new_key()))
    run = deployment.folder / "run"
    run.mkdir()
    learnt(deployment)
    for name in deployment.kits:
        entries = [json.loads(line) for line in _ledger(deployment, name).read_bytes().splitlines()]
        for entry, after in itertools.pairwise(entries):
            if entry["kind"] == "answer":
                Receipts(run).keep(name, Head(entry["seq"], after["prev"]), entry["task"], entry["round"])
    return deployment, run


def _ledger(deployment: Deployment, name: str) -> Path:
    return deployment.kits[name] / "state" / "ledger.jsonl"


def _public(deployment: Deployment, name: str, place: Path) -> Path:
    key = read_private_key(deployment.kits[name] / "client.key").public_key()
    path = place / f"{name}.pub"
    path.write_bytes(ssh_public(key, name))
    return path


def test_anybody_verifies_a_ledger_with_the_public_key_alone(asked: tuple[Deployment, Path], tmp_path: Path) -> None:
    deployment, run = asked
    copy = Path(shutil.copy(_ledger(deployment, "plant-1"), tmp_path / "ledger.jsonl"))
    found = checked_ledger(copy, [_public(deployment, "plant-1", tmp_path)], run)
    assert (found.fault, found.num_receipts > 0) == ("", True)
    assert checked_ledger(copy, [_public(deployment, "plant-2", tmp_path)]).line == 1
    with pytest.raises(ConfigError, match="--public-key"):
        checked_ledger(copy)


def test_the_registered_key_signs(asked: tuple[Deployment, Path]) -> None:
    deployment, _ = asked
    key = read_private_key(deployment.kits["plant-1"] / "client.key").public_key()
    assert {entry["key"] for entry in checked_ledger(deployment.kits["plant-1"]).entries} == {fingerprint(key)}


def test_a_run_without_receipts_is_said(asked: tuple[Deployment, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="receipts"):
        checked_ledger(asked[0].kits["plant-1"], (), tmp_path)


def test_the_pack_holds_what_is_asked_for_and_no_row(asked: tuple[Deployment, Path], tmp_path: Path) -> None:
    deployment, run = asked
    kit, out = deployment.kits["plant-1"], tmp_path / "evidence.zip"
    audit = tmp_path / "audit.json"
    audit.write_text(json.dumps({"about": "x", "attacks": [{"attack": "loss threshold", "auc": 0.5}]}))
    assert not write_evidence(kit, out, run, audit).fault
    assert out.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(out) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert contents.keys() >= {"index.html", "ledger.jsonl", "ledger.csv", "client.pub", "policy.json", "audit.json"}
    assert json.loads(contents["verification.json"])["whole"]
    page = html.unescape(contents["index.html"].decode())
    for word in ("plant-1", "minimum_rows", "to ask without end", "survey", "loss threshold", "SHA256:"):
        assert word in page, word
    assert "::test_" not in page
    values = {str(value) for column in _columns(kit) for value in column if len(str(value)) > 4}
    everything = b"\n".join(contents.values()).decode()
    assert len(values) > 100
    assert not values & set(re.findall(r"[\w.]+", everything))


def _columns(kit: Path) -> list[list[object]]:
    return [column.to_list() for column in pl.read_csv(kit / "rows.csv").iter_columns()]


def test_the_command_names_the_first_bad_line_and_fails(asked: tuple[Deployment, Path], tmp_path: Path) -> None:
    copy = tmp_path / "ledger.jsonl"
    lines = _ledger(asked[0], "plant-1").read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    key = str(_public(asked[0], "plant-1", tmp_path))
    result = CliRunner().invoke(app, ["client", "ledger", str(copy), "--verify", "--public-key", key])
    assert result.exit_code == 2
    assert "Line 3 has the number 3 where 2 must be" in result.output


def test_the_command_shows_a_table_json_and_files(asked: tuple[Deployment, Path], tmp_path: Path) -> None:
    deployment, run = asked
    kit, runner = str(deployment.kits["plant-1"]), CliRunner()
    shown = runner.invoke(app, ["client", "ledger", kit])
    assert shown.exit_code == 0, shown.output
    assert "survey" in shown.output
    assert "Whole:" in shown.output
    told = json.loads(runner.invoke(app, ["client", "ledger", kit, "--json", "--receipts", str(run)]).output)
    assert told["whole"]
    assert told["receipts"] > 0
    assert len(told["entries"]) == told["lines"]
    later = json.loads(runner.invoke(app, ["client", "ledger", kit, "--json", "--since", "2999-01-01"]).output)
    assert later["entries"] == []
    assert runner.invoke(app, ["client", "ledger", kit, "--since", "soon"]).exit_code == 2
    files = [str(tmp_path / name) for name in ("l.csv", "l.html")]
    assert runner.invoke(app, ["client", "ledger", kit, "--csv", files[0], "--html", files[1]]).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(Path(files[0]).read_text())))
    assert len(rows) == told["lines"]
    assert "<table>" in Path(files[1]).read_text()
    out = tmp_path / "pack.zip"
    assert runner.invoke(app, ["client", "evidence", kit, "--out", str(out)]).exit_code == 0
    assert zipfile.is_zipfile(out)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_a_spreadsheet_computes_nothing_that_a_server_has_named(text: str) -> None:
    row = dict.fromkeys(COLUMNS, "") | {"run": text}
    (read,) = csv.DictReader(io.StringIO(to_csv([row])))
    assert read["run"] == f"'{text}"


def test_a_page_shows_a_hostile_name_as_text() -> None:
    page = plain_page("x", [], [pairs("t", "", {"<script>alert(1)</script>": "<img>"})])
    assert "<script" not in page
    assert "<img" not in page


def test_the_head_of_an_answer_is_that_of_the_ledger(asked: tuple[Deployment, Path]) -> None:
    deployment, _ = asked
    kit = deployment.kits["plant-2"]
    before = checked_ledger(kit).head
    answer = decode_answer(deployment.desk("plant-2").answer(encode_whoami()), kind_of("whoami"))
    assert answer.ledger is None, "its name is no answer about rows"
    assert checked_ledger(kit).head == before
    assert SURVEY.name in {entry.get("task") for entry in checked_ledger(kit).entries}
