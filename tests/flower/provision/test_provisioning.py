"""Making kits, and changing them while a federation runs."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import SubjectAlternativeName

from werkbund.config import Config, check_config
from werkbund.core.errors import ConfigError
from werkbund.core.keys import fingerprint, read_public_key
from werkbund.flower.provision import (
    Members,
    add_client,
    expiry,
    keygen,
    provision,
    renew_server,
    revoke_client,
)
from werkbund.flower.provision.certificates import read_certificate

HOSTS = ["federation.example.com"]


def _state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_parties_say_where_the_keys_are_and_until_when_they_are_good(tmp_path: Path) -> None:
    own = keygen(tmp_path / "own")
    now = datetime(2030, 1, 1, 12, tzinfo=UTC)
    public = {"plant-b": tmp_path / "own" / "client.pub"}
    done = provision(Config(), tmp_path / "kits", ["plant-a", "plant-b"], HOSTS, days=100, public_keys=public, now=now)
    assert [party.name for party in done.parties] == ["ca", "server", "plant-a", "plant-b"]
    ca, server, plant_a, plant_b = done.parties
    assert (ca.expires, server.expires) == (now + timedelta(days=3650), now + timedelta(days=100))
    assert (plant_a.expires, plant_b.expires) == (ca.expires, ca.expires)
    assert plant_a.private_key == tmp_path / "kits" / "plant-a" / "client.key"
    assert (plant_b.private_key, plant_b.fingerprint) == (None, own)
    assert done.warnings == ()


def test_clients_of_the_configuration_are_taken_in_their_order(tmp_path: Path) -> None:
    config = check_config({"data": {"clients": {"west": "w.csv", "east": "e.csv"}}})
    done = provision(config, tmp_path / "kits", [], HOSTS)
    assert [party.name for party in done.parties[2:]] == ["west", "east"]
    only = provision(config, tmp_path / "others", ["north"], HOSTS)
    assert [party.name for party in only.parties[2:]] == ["north"]


def test_a_short_life_is_warned_about_at_once(tmp_path: Path) -> None:
    (warning,) = provision(Config(), tmp_path, ["a"], HOSTS, days=10, now=datetime(2030, 1, 1, tzinfo=UTC)).warnings
    assert "server.crt expires in 10 days, on 2030-01-11" in warning


def test_nothing_but_kits_is_left_in_the_folder(tmp_path: Path) -> None:
    provision(Config(), tmp_path, ["a"], HOSTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "ca", "server"]
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clients": []}, "--client must name each plant, got none"),
        ({"clients": ["a", "b", "a"]}, "got a twice"),
        ({"clients": ["a", "A"]}, "'a' is a member already"),
        ({"clients": ["a/b"]}, "a client's name must be 1 to 64 letters"),
        ({"clients": ["server"]}, "must not be 'ca' or 'server'"),
        ({"hosts": []}, "--host must be a DNS name"),
        ({"hosts": ["https://a"]}, "--host must be a DNS name"),
        ({"port": 0}, r"--port must be in 1\.\.65535"),
        ({"days": 4000}, "--days must be in"),
        ({"public_keys": {"z": Path("z.pub")}}, "--public-key must be of a client that is named, got z"),
        ({"public_keys": {"a": Path("none.pub")}}, r"none\.pub"),
    ],
)
def test_a_broken_rule_is_named_before_anything_is_written(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"clients": ["a", "b"], "hosts": HOSTS, **changes}
    with pytest.raises(ConfigError, match=message):
        provision(Config(), tmp_path / "kits", **arguments)
    assert not (tmp_path / "kits").exists()


def test_one_key_for_two_clients_is_refused(tmp_path: Path) -> None:
    keygen(tmp_path)
    public = {"a": tmp_path / "client.pub", "b": tmp_path / "client.pub"}
    with pytest.raises(ConfigError, match="a key must belong to one client"):
        provision(Config(), tmp_path / "kits", ["a", "b"], HOSTS, public_keys=public)


@pytest.mark.parametrize("left", [["ca.crt", "members.json"], ["ca.key"]])
def test_a_folder_with_a_ca_is_never_written_over(left: list[str], kits: Path) -> None:
    for path in (kits / "ca").iterdir():
        if path.name not in left:
            path.unlink()
    before = _state(kits)
    with pytest.raises(ConfigError, match="change it with --add, --revoke or --renew"):
        provision(Config(), kits, ["plant-z"], HOSTS)
    assert _state(kits) == before


def test_a_folder_with_something_else_of_that_name_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "plant-a").mkdir()
    with pytest.raises(ConfigError, match="plant-a, which exists"):
        provision(Config(), tmp_path, ["plant-a"], HOSTS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="must be a folder, got the file"):
        provision(Config(), tmp_path / "file", ["plant-a"], HOSTS)


def test_add_writes_a_kit_and_tells_the_server(kits: Path) -> None:
    before = _state(kits)
    done = add_client(kits, "plant-h")
    assert [party.name for party in done.parties[2:]] == ["plant-a", "plant-b", "plant-h"]
    assert (kits / "server" / "clients" / "plant-h.pub").read_bytes() == (kits / "plant-h" / "client.pub").read_bytes()
    assert stat.S_IMODE((kits / "plant-h" / "client.key").stat().st_mode) == 0o600
    for name in ("federation.toml", "ca.crt", "compose.yaml"):
        assert (kits / "plant-h" / name).read_bytes() == (kits / "plant-a" / name).read_bytes()
    for name in ("client.toml", "README.md"):
        text = (kits / "plant-a" / name).read_text(encoding="utf-8")
        old, new = (fingerprint(read_public_key(kits / plant / "client.pub")) for plant in ("plant-a", "plant-h"))
        expected = text.replace("plant-a", "plant-h").replace(old, new)
        assert (kits / "plant-h" / name).read_text(encoding="utf-8") == expected
    after = _state(kits)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed == {"ca/members.json"}
    assert "copy clients/plant-h.pub and plants/plant-h.pub there too" in done.notes[-2]
    assert "For secure sums each plant needs" in done.notes[-1]
    assert [path.name for path in sorted((kits / "plant-h" / "plants").iterdir())] == [
        f"{name}.pub" for name in ("plant-a", "plant-b", "plant-h")
    ]


def test_add_takes_a_key_that_the_plant_made(kits: Path, tmp_path: Path) -> None:
    own = keygen(tmp_path / "own")
    done = add_client(kits, "plant-h", tmp_path / "own" / "client.pub")
    assert not (kits / "plant-h" / "client.key").exists()
    assert (done.parties[-1].fingerprint, done.parties[-1].private_key) == (own, None)
    assert Members.read(kits / "ca" / "members.json").find("plant-h").key_made_by == "plant"


def test_add_needs_no_key_of_the_ca(kits: Path) -> None:
    (kits / "ca" / "ca.key").unlink()  # kept elsewhere
    assert add_client(kits, "plant-h").parties[0].private_key is None


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("plant-a", None, "'plant-a' is a member already"),
        ("PLANT-A", None, "'plant-a' is a member already"),
        ("../plant", None, "a client's name must be"),
        ("plant-h", "plant-a/client.pub", "the key of client 'plant-a'"),
        ("plant-h", "plant-a/client.key", "holds a private key"),
    ],
)
def test_add_refuses_what_would_be_two_of_one(name: str, key: str | None, message: str, kits: Path) -> None:
    before = _state(kits)
    with pytest.raises(ConfigError, match=message):
        add_client(kits, name, None if key is None else kits / key)
    assert _state(kits) == before


@pytest.mark.parametrize("path", ["plant-h/mine.txt", "server/clients/plant-h.pub"])
def test_add_writes_over_nothing(path: str, kits: Path) -> None:
    (kits / path).parent.mkdir(exist_ok=True)
    (kits / path).write_text("mine")
    before = _state(kits)
    with pytest.raises(ConfigError, match="--add must not write over what is there"):
        add_client(kits, "plant-h")
    assert _state(kits) == before


def test_add_without_the_servers_kit_says_so(kits: Path) -> None:
    (kits / "server" / "server.toml").unlink()
    with pytest.raises(ConfigError, match="bring the server's kit back"):
        add_client(kits, "plant-h")


def test_revoke_takes_the_key_away_and_keeps_it(kits: Path) -> None:
    key = (kits / "plant-a" / "client.pub").read_bytes()
    done = revoke_client(kits, "plant-a", now=datetime(2030, 1, 2, tzinfo=UTC))
    assert [party.name for party in done.parties[2:]] == ["plant-b"]
    assert not (kits / "server" / "clients" / "plant-a.pub").exists()
    assert (kits / "server" / "clients" / "plant-b.pub").exists()
    assert (kits / "ca" / "revoked" / "plant-a.pub").read_bytes() == key
    (gone, _) = Members.read(kits / "ca" / "members.json").entries
    assert (gone.name, gone.revoked) == ("plant-a", "2030-01-02T00:00:00+00:00")


def test_a_revoked_client_comes_back_with_a_new_key_alone(kits: Path) -> None:
    revoke_client(kits, "plant-a")
    (kits / "plant-a").rename(kits / "old")
    with pytest.raises(ConfigError, match="the key of revoked client 'plant-a'"):
        add_client(kits, "plant-a", kits / "old" / "client.pub")
    add_client(kits, "plant-a")
    revoke_client(kits, "plant-a")
    assert sorted(path.name for path in (kits / "ca" / "revoked").iterdir()) == ["plant-a-2.pub", "plant-a.pub"]


def test_revoke_works_where_the_key_was_taken_away_by_hand(kits: Path) -> None:
    (kits / "server" / "clients" / "plant-a.pub").unlink()
    assert [party.name for party in revoke_client(kits, "plant-a").parties[2:]] == ["plant-b"]


@pytest.mark.parametrize("name", ["plant-z", "../ca", "Plant-a"])
def test_revoke_refuses_strangers(name: str, kits: Path) -> None:
    before = _state(kits)
    with pytest.raises(ConfigError, match="--revoke must name a member"):
        revoke_client(kits, name)
    assert _state(kits) == before


def test_renew_changes_the_certificate_and_not_the_key(kits: Path) -> None:
    before, old = _state(kits), read_certificate(kits / "server" / "server.crt")
    done = renew_server(kits, days=400, now=datetime.now(UTC) + timedelta(days=800))
    new, authority = read_certificate(kits / "server" / "server.crt"), read_certificate(kits / "ca" / "ca.crt")
    new.verify_directly_issued_by(authority)
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number
    assert new.extensions.get_extension_for_oid(_NAMES).value == old.extensions.get_extension_for_oid(_NAMES).value
    after = _state(kits)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed == {"server/server.crt", "server/README.md"}
    assert f"**{expiry(kits / 'server' / 'server.crt'):%Y-%m-%d}**" in after["server/README.md"].decode()
    assert "Restart the server" in done.notes[0]
    assert done.warnings == ()


_NAMES = SubjectAlternativeName.oid


def test_renew_takes_the_names_that_server_toml_states(kits: Path) -> None:
    path = kits / "server" / "server.toml"
    path.write_text(path.read_text().replace("10.0.0.5", "new.example.com"))
    renew_server(kits)
    value = read_certificate(kits / "server" / "server.crt").extensions.get_extension_for_oid(_NAMES).value
    assert "new.example.com" in str(value)
    assert "10.0.0.5" not in str(value)


def test_renew_needs_the_key_of_the_ca(kits: Path) -> None:
    before = (kits / "server" / "server.crt").read_bytes()
    (kits / "ca" / "ca.key").unlink()
    with pytest.raises(ConfigError, match="must be the CA's private key"):
        renew_server(kits)
    assert (kits / "server" / "server.crt").read_bytes() == before


@pytest.mark.parametrize("change", [add_client, revoke_client])
def test_a_folder_that_holds_no_federation_is_named(change: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a folder that `werkbund provision` wrote"):
        change(tmp_path, "plant-a")
    with pytest.raises(ConfigError, match="must be a folder that `werkbund provision` wrote"):
        renew_server(tmp_path)
