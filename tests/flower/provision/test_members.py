"""The operator's list of members."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from werkbund.core.errors import ConfigError
from werkbund.flower.provision import Member, Members
from werkbund.flower.provision.members import check_name


def _member(name: str, key: str = "SHA256:one") -> Member:
    return Member(name, key, "operator", "2026-01-01T00:00:00+00:00")


BOTH = Members().with_new(_member("plant-a")).with_new(_member("plant-b", "SHA256:two"))


@pytest.mark.parametrize("name", ["a", "plant-a", "Werk_2.nord", "0", "a" * 64])
def test_names_of_letters_digits_and_marks_are_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "..", "a\n", "ä", "a" * 65])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a client's name must be 1 to 64 letters"):
        check_name(name)


@pytest.mark.parametrize("name", ["ca", "server", "Server"])
def test_names_of_other_folders_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="must not be 'ca' or 'server'"):
        check_name(name)


@pytest.mark.parametrize("name", ["plant-a", "Plant-A"])
def test_two_clients_never_have_one_name(name: str) -> None:
    with pytest.raises(ConfigError, match="'plant-a' is a member already"):
        BOTH.with_new(_member(name, "SHA256:three"))


def test_two_clients_never_have_one_key() -> None:
    with pytest.raises(ConfigError, match="SHA256:two for 'plant-c', the key of client 'plant-b'"):
        BOTH.with_new(_member("plant-c", "SHA256:two"))


def test_a_revoked_key_never_comes_back() -> None:
    gone = BOTH.revoke("plant-b", "2026-02-01T00:00:00+00:00")
    with pytest.raises(ConfigError, match="revoked client 'plant-b'"):
        gone.with_new(_member("plant-b", "SHA256:two"))


def test_a_revoked_name_comes_back_with_another_key() -> None:
    again = BOTH.revoke("plant-b", "2026-02-01T00:00:00+00:00").with_new(_member("plant-b", "SHA256:three"))
    assert [(member.name, member.fingerprint) for member in again.active] == [
        ("plant-a", "SHA256:one"),
        ("plant-b", "SHA256:three"),
    ]
    assert len(again.entries) == 3


@pytest.mark.parametrize(("name", "reason"), [("plant-c", "is none"), ("plant-b", "was revoked already")])
def test_only_a_member_is_revoked(name: str, reason: str) -> None:
    members = BOTH.revoke("plant-b", "2026-02-01T00:00:00+00:00")
    with pytest.raises(ConfigError, match=f"got '{name}', which {reason}; members are plant-a"):
        members.revoke(name, "2026-02-02T00:00:00+00:00")


def test_the_list_is_read_back(tmp_path: Path) -> None:
    members = BOTH.revoke("plant-a", "2026-02-01T00:00:00+00:00")
    members.write(tmp_path / "members.json")
    assert Members.read(tmp_path / "members.json") == members


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"members": [{"name": "plant-a"}]}), '{"members": 3}'])
def test_a_list_that_cannot_be_read_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "members.json").write_text(content)
    with pytest.raises(ConfigError, match=r"members\.json must be the list of members"):
        Members.read(tmp_path / "members.json")


def test_a_folder_without_a_list_is_no_federation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"without ca/members\.json"):
        Members.read(tmp_path / "ca" / "members.json")
