"""Handing out kits, as an operator and a plant type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from werkbund.cli.client import keygen_command
from werkbund.cli.provision import provision_command

app = typer.Typer()
app.command("provision")(provision_command)
app.command("keygen")(keygen_command)

MAKE = ["provision", "--client", "plant-a", "--client", "plant-b", "--host", "federation.example.com"]


def werkbund(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_table_shows_each_party_with_its_key_and_expiry() -> None:
    made = werkbund(*MAKE)
    assert made.exit_code == 0, made.stderr
    rows = [line.split() for line in made.stdout.splitlines()]
    assert [row[:3] for row in rows[2:6]] == [
        ["ca", "kits/ca", "kits/ca/ca.key"],
        ["server", "kits/server", "kits/server/server.key"],
        ["plant-a", "kits/plant-a", "kits/plant-a/client.key"],
        ["plant-b", "kits/plant-b", "kits/plant-b/client.key"],
    ]
    shown = json.loads(werkbund("provision", "--revoke", "plant-b", "--json").stdout)
    assert [row[3] for row in rows[2:5]] == [party["expires"][:10] for party in shown["parties"]]
    assert "Start the server: werkbund server start kits/server" in made.stdout


def test_a_plant_makes_its_key_and_the_kit_comes_without_one() -> None:
    made = json.loads(werkbund("keygen", "--out", "own", "--name", "plant-a", "--json").stdout)
    assert Path(made["private_key"]).is_file()
    done = werkbund(*MAKE, "--public-key", f"plant-a={made['public_key']}", "--json")
    plant = json.loads(done.stdout)["parties"][2]
    assert (plant["name"], plant["private_key"], plant["fingerprint"]) == ("plant-a", None, made["fingerprint"])
    assert not Path("kits/plant-a/client.key").exists()
    assert Path("kits/plant-b/client.key").exists()


def test_keygen_says_which_file_stays_and_which_goes() -> None:
    lines = werkbund("keygen").stdout.splitlines()
    assert "client.key   stays here" in lines[0]
    assert "client.pub   goes to the operator" in lines[1]
    assert "SHA256:" in lines[2]


def test_a_configuration_names_the_clients() -> None:
    Path("federation.toml").write_text('[data.clients]\nwest = "w.csv"\neast = "e.csv"\n')
    done = werkbund("provision", "federation.toml", "--host", "127.0.0.1", "--port", "9000", "--json")
    assert [party["name"] for party in json.loads(done.stdout)["parties"][2:]] == ["west", "east"]
    assert 'address = "127.0.0.1:9000"' in Path("kits/west/client.toml").read_text(encoding="utf-8")


def test_add_revoke_and_renew_change_what_was_made() -> None:
    werkbund(*MAKE)
    added = werkbund("provision", "--add", "plant-h", "--out", "kits")
    assert "plant-h" in added.stdout
    assert Path("kits/server/clients/plant-h.pub").is_file()
    revoked = json.loads(werkbund("provision", "--revoke", "plant-a", "--json").stdout)
    assert [party["name"] for party in revoked["parties"][2:]] == ["plant-b", "plant-h"]
    assert not Path("kits/server/clients/plant-a.pub").exists()
    renewed = werkbund("provision", "--renew", "--days", "20")
    assert "Restart the server" in renewed.stdout
    assert "Warning: kits/server/server.crt expires in " in renewed.stderr


def test_add_takes_a_public_key() -> None:
    werkbund(*MAKE)
    werkbund("keygen", "--out", "own")
    werkbund("provision", "--add", "plant-h", "--public-key", "plant-h=own/client.pub")
    assert not Path("kits/plant-h/client.key").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (MAKE, "change it with --add, --revoke or --renew"),
        (["provision", "none.toml"], "none.toml does not exist"),
        (["provision", "--out", "new"], "--host must be a DNS name"),
        (["provision", "--out", "new", "--host", "a.example"], "--client must name each plant"),
        (["provision", "--out", "new", "--add", "plant-z"], "must be a folder that `werkbund provision` wrote"),
        (["provision", "--add", "plant-a"], "'plant-a' is a member already"),
        (["provision", "--add", "plant z"], "a client's name must be"),
        (["provision", "--revoke", "plant-z"], "members are plant-a, plant-b"),
        (["provision", "--renew", "--days", "9999"], "--days must be in"),
        (["provision", "--add", "plant-z", "--revoke", "plant-a"], "must stand without --revoke"),
        (["provision", "--revoke", "plant-a", "--renew"], "must stand without --renew"),
        (["provision", "--renew", "--host", "new.example.com"], "must stand without --host"),
        (["provision", "--add", "plant-z", "--public-key", "plant-y=y.pub"], "the client that is added, plant-z"),
        ([*MAKE, "--out", "new", "--public-key", "plant-a"], "must be NAME=FILE"),
        ([*MAKE, "--out", "new", "--public-key", "plant-a=a", "--public-key", "plant-a=b"], "got plant-a twice"),
        (["keygen", "--out", "kits/plant-a"], "must hold no key yet"),
    ],
)
def test_a_fault_ends_with_one_message_and_status_2(arguments: list[str], message: str) -> None:
    werkbund(*MAKE)
    done = werkbund(*arguments)
    assert done.exit_code == 2
    assert "Error: " in done.stderr
    assert message in done.stderr
    assert not Path("new").exists()
