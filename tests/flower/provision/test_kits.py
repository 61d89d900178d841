"""What lies in a kit, and what its texts say."""

from __future__ import annotations

import configparser
import os
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from werkbund import __version__
from werkbund.config import check_config, load_config
from werkbund.core.errors import ConfigError
from werkbund.core.keys import fingerprint, read_public_key
from werkbund.flower.provision import expiry, provision
from werkbund.flower.provision.kits import Site, plant_config, read_site, server_config
from werkbund.plant.leaving import USUAL
from werkbund.plant.settings import AcceptanceSection, PolicySection, load_settings

yaml: Any = pytest.importorskip("yaml")  # Flower brings it

SERVER = {
    "server.toml",
    "federation.toml",
    "ca.crt",
    "server.crt",
    "server.key",
    "executor.secret",
    "clients",
    "plants",
}
CLIENT = {"client.toml", "federation.toml", "ca.crt", "client.pub", "plants"}
BOTH = {"start.sh", "compose.yaml", "README.md"}
PARTIES = [("server", "server"), ("client", "plant-a"), ("client", "plant-b")]


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _readme(kit: Path) -> str:
    return " ".join((kit / "README.md").read_text(encoding="utf-8").split())


def test_each_party_gets_the_files_of_its_kit(written: Path) -> None:
    kits = written / "kits"
    assert _names(kits) == {"ca", "server", "plant-a", "plant-b"}
    assert _names(kits / "ca") == {"ca.key", "ca.crt", "members.json"}
    assert _names(kits / "server") == SERVER | BOTH | {"werkbund-server.service", "plants"}
    assert _names(kits / "server" / "clients") == {"plant-a.pub", "plant-b.pub"}
    assert _names(kits / "plant-a") == CLIENT | BOTH | {"werkbund-client.service", "client.key"}
    assert _names(kits / "plant-b") == CLIENT | BOTH | {"werkbund-client.service"}


def test_every_kit_has_the_public_keys_of_all_plants(written: Path) -> None:
    kits = written / "kits"
    for name in ("server", "plant-a", "plant-b"):
        plants = {path.name: path.read_bytes() for path in (kits / name / "plants").iterdir()}
        assert plants == {
            f"{plant}.pub": (kits / plant / "client.pub").read_bytes() for plant in ("plant-a", "plant-b")
        }


def test_private_files_are_their_owners_alone(written: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (written / "kits").rglob("*")}
    private = {path for path, mode in modes.items() if path.is_file() and mode == 0o600}
    assert {path.name for path in private} == {"ca.key", "server.key", "client.key", "executor.secret"}
    assert all(modes[path.parent] == 0o700 for path in private)
    assert all("PRIVATE KEY" not in path.read_text() for path in modes if path.is_file() and path not in private)


def test_a_plants_own_private_key_is_nowhere_in_the_kits(written: Path) -> None:
    secret = (written / "own" / "client.key").read_text().splitlines()[5]
    assert len(secret) > 40
    assert not [path for path in (written / "kits").rglob("*") if path.is_file() and secret in path.read_text()]


def test_the_executors_secret_is_long_and_new_each_time(written: Path) -> None:
    assert len((written / "kits" / "server" / "executor.secret").read_bytes()) == 64


def test_the_server_knows_the_keys_that_clients_hold(written: Path) -> None:
    for name in ("plant-a", "plant-b"):
        known, held = written / "kits" / "server" / "clients" / f"{name}.pub", written / "kits" / name / "client.pub"
        assert known.read_bytes() == held.read_bytes()
    assert (written / "kits" / "plant-b" / "client.pub").read_bytes() == (written / "own" / "client.pub").read_bytes()


def test_server_toml_says_where_it_is_reached(written: Path) -> None:
    values = tomllib.loads((written / "kits" / "server" / "server.toml").read_text())
    names = ["federation.example.com", "10.0.0.5"]
    assert values == {"server": {"host": "0.0.0.0", "port": 8123, "names": names, "insecure": False}}  # noqa: S104
    assert read_site(written / "kits" / "server") == Site(tuple(names), 8123)


@pytest.mark.parametrize("text", ["", "[server]\nport = 1\n", '[server]\nport = "x"\nnames = ["a"]\n', "no toml", None])
def test_a_server_toml_that_lost_something_is_named(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "server.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"server\.toml must have \[server\] with names and port"):
        read_site(tmp_path)


def test_client_toml_has_every_section_and_the_right_address(written: Path) -> None:
    values = tomllib.loads((written / "kits" / "plant-a" / "client.toml").read_text(encoding="utf-8"))
    assert list(values) == ["client", "server", "data", "columns", "policy", "bounds", "acceptance"]
    assert values["client"] == {"name": "plant-a"}
    assert values["server"] == {
        "address": "federation.example.com:8123",
        "root_certificates": "ca.crt",
        "private_key": "client.key",
        "poll_s": 0.5,
        "insecure": False,
    }
    assert values["data"] == {"path": "machines.csv"}
    assert values["columns"] == {}
    assert values["policy"]["signals"] == ["rows", "loss", "counts", "vocabulary", "delivery", "norm"]
    assert values["acceptance"] == {"metric": "average_precision", "tolerance": 0.0}


@pytest.mark.parametrize("kind", ["trees", "forest"])
def test_the_kit_of_a_federation_of_trees_allows_them_and_says_what_they_tell(kind: str, tmp_path: Path) -> None:
    config = check_config({"model": {"kind": kind}})
    provision(config, tmp_path / "kits", ["plant-a"], ["127.0.0.1"], 8000)
    kit = tmp_path / "kits" / "plant-a"
    assert load_settings(kit).policy == PolicySection(signals=[*USUAL, "trees"])
    assert "which for few rows tell a great deal about them" in _readme(kit)
    assert "changes to the model's weights" not in _readme(kit)


def test_a_plant_reads_its_client_toml(written: Path) -> None:
    settings = load_settings(written / "kits" / "plant-b")
    assert (settings.client.name, settings.server.address) == ("plant-b", "federation.example.com:8123")
    assert settings.kit == (written / "kits" / "plant-b").resolve()
    assert settings.policy == PolicySection()
    assert settings.acceptance == AcceptanceSection()


def test_the_columns_that_client_toml_proposes_are_toml(written: Path) -> None:
    text = (written / "kits" / "plant-a" / "client.toml").read_text(encoding="utf-8")
    proposed = [line.removeprefix("# ") for line in text.split("[columns]")[1].split("[policy]")[0].splitlines()[3:]]
    assert tomllib.loads("\n".join(proposed)) == {
        "failed": "failed",
        'Torque "T" [Nm]': {"column": 'Torque "T" [Nm]', "unit": "Nm"},
        "speed": "speed",
    }


@pytest.mark.parametrize("party", ["server", "plant-a"])
def test_no_path_of_the_operator_travels_and_what_was_set_does(party: str, written: Path) -> None:
    path = written / "kits" / party / "federation.toml"
    config = load_config(path)
    assert config.data.path is None
    assert config.data.clients == {}
    assert config.federation.rounds == 7
    assert list(config.data.columns) == ['Torque "T" [Nm]', "speed"]
    assert "quorum" not in path.read_text()
    assert ("/home/operator" in path.read_text()) == (
        party == "server"
    )  # the path of the first weights is the server's


@pytest.mark.parametrize("initial", ["random", "client", "client:plant-a"])
def test_a_plant_learns_how_the_first_weights_are_made(initial: str) -> None:
    config = check_config({"model": {"initial": initial}})
    assert tomllib.loads(plant_config(config))["model"] == {"initial": initial}


def test_nothing_set_is_a_configuration_too(tmp_path: Path) -> None:
    (tmp_path / "federation.toml").write_text(server_config(check_config({"data": {"path": "a.csv"}})))
    assert load_config(tmp_path / "federation.toml") == check_config({})


def test_a_plants_readme_can_be_followed(written: Path) -> None:
    text = _readme(written / "kits" / "plant-a")
    for command in (
        f'pip install "werkbund[postgresql]=={__version__}"',
        "chmod 600 client.key",
        "werkbund client check .",
        "werkbund client start .",
        "werkbund client rollback .",
        "werkbund client pause .",
        "systemctl enable --now werkbund-plant-a",
    ):
        assert command in text
    for fact in (
        "Leaves",
        "Is not sent",
        "client agree",
        "client record",
        "outbound only",
        "federation.example.com:8123",
        "no open port",
    ):
        assert fact in text
    assert f"{expiry(written / 'kits' / 'ca' / 'ca.crt'):%Y-%m-%d}" in text
    assert "client keygen" not in text


def test_a_plant_with_its_own_key_reads_where_it_goes(written: Path) -> None:
    text = _readme(written / "kits" / "plant-b")
    assert "Put the `client.key` that you made with `werkbund client keygen` into this folder" in text
    assert fingerprint(read_public_key(written / "own" / "client.pub")) in text


def test_the_servers_readme_can_be_followed(written: Path) -> None:
    text = _readme(written / "kits" / "server")
    for command in (
        f'pip install "werkbund[postgresql]=={__version__}"',
        "werkbund server start .",
        "werkbund server status .",
        "werkbund server run --kit .",
        "werkbund provision --add plant-h --out .",
        "werkbund provision --revoke plant-c --out .",
        "werkbund provision --renew --out .",
        "werkbund client rollback .",
        "TCP port 8123",
    ):
        assert command in text
    for name in ("ca/ca.crt", "server/server.crt"):
        assert f"**{expiry(written / 'kits' / name):%Y-%m-%d}**" in text


@pytest.mark.parametrize(("role", "party"), PARTIES)
def test_start_sh_runs_the_command_in_its_own_folder(role: str, party: str, kits: Path, tmp_path: Path) -> None:
    programs = kits / party / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "werkbund").write_text('#!/bin/sh\necho "$PWD" "$@" "${PGUSER-}"\n')
    (programs / "werkbund").chmod(0o755)
    (kits / party / "database.env").write_text("PGUSER='read er'\n")
    environment = {key: value for key, value in os.environ.items() if key != "PGUSER"}
    script = [kits / party / "start.sh"]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    user = "read er" if role == "client" else ""
    assert done.stdout == f"{(kits / party).resolve()} {role} start . {user}\n"


@pytest.mark.parametrize(("role", "party"), PARTIES)
def test_the_unit_restarts_and_writes_in_its_kit_alone(role: str, party: str, written: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(written / "kits" / party / f"werkbund-{role}.service")
    service = unit["Service"]
    assert service["ExecStart"] == f"/opt/werkbund/venv/bin/werkbund {role} start /opt/werkbund/{party}"
    assert (service["Restart"], service["RestartSec"]) == ("always", "10")
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("true", "strict")
    assert service["ReadWritePaths"] == f"/opt/werkbund/{party}"
    assert "CAP_NET_BIND_SERVICE" not in service["CapabilityBoundingSet"]


@pytest.mark.parametrize(("role", "party"), PARTIES)
def test_the_compose_file_starts_the_same_command(role: str, party: str, written: Path) -> None:
    (service,) = yaml.safe_load((written / "kits" / party / "compose.yaml").read_text())["services"].values()
    recipe = service["build"]["dockerfile_inline"]
    assert recipe.startswith("FROM python:3.11-slim\n")
    assert f'pip install --no-cache-dir "werkbund[postgresql]=={__version__}"' in recipe
    assert service["command"] == ["werkbund", role, "start", "/kit"]
    assert service["volumes"] == ["./:/kit"]
    assert service["restart"] == "always"
    assert service.get("ports", []) == (["8123:8123"] if role == "server" else [])
