"""What was revoked stays out, whatever of a server is brought back from before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flower.federations import make_kits, running, wait_for
from werkbund.config import Config
from werkbund.core.errors import ConfigError
from werkbund.flower.provision import add_client, provision, revoke_client
from werkbund.flower.server.control import Control, Node, connect
from werkbund.flower.server.host import ServerHost
from werkbund.flower.server.kit import back_up, load_server_settings
from werkbund.flower.server.roster import Roster


@dataclass
class Flower:
    """Stand for Flower's list of clients, which takes a key once."""

    names: dict[bytes, str] = field(default_factory=dict)
    ids: dict[bytes, int] = field(default_factory=dict)
    removed: set[bytes] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def nodes(self) -> list[Node]:
        return [Node(self.ids[key], name, "online", "", "", "", key) for key, name in self.names.items()]

    def register(self, name: str, key: bytes) -> int:
        if key in self.names or key in self.removed:
            raise ConfigError("Flower takes a key once")
        self.names[key] = name
        return self.ids.setdefault(key, len(self.ids))

    def unregister(self, number: int) -> None:
        (key,) = (key for key, its in self.ids.items() if its == number)
        self.removed.add(key)
        del self.names[key]

    def copy(self) -> Flower:
        return Flower(dict(self.names), dict(self.ids), set(self.removed))


@dataclass
class Federation:
    """Hold an operator's folder, the kit from which the server runs, and what is Flower's."""

    out: Path
    memory: Path
    flower: Flower = field(default_factory=Flower)
    said: list[str] = field(default_factory=list)
    kit: Path = Path()

    @classmethod
    def begin(cls, folder: Path, *names: str) -> Federation:
        provision(Config(), folder / "kits", names, ["localhost"])
        return cls(folder / "kits", folder / "memory", kit=folder / "kits" / "server")

    def look(self) -> list[str]:
        """Start a server from the kit; return who may join then."""
        roster = Roster(self.kit, lambda: cast(Control, self.flower), self.said.append, self.memory)
        assert roster.look()
        return sorted(self.flower.names.values())

    def back_up(self, name: str) -> tuple[Path, Flower]:
        return back_up(self.kit, self.out.parent / name), self.flower.copy()


@pytest.fixture
def two(tmp_path: Path) -> Federation:
    federation = Federation.begin(tmp_path, "plant-a", "plant-b")
    assert federation.look() == ["plant-a", "plant-b"]
    return federation


def test_a_revoked_client_is_out_and_the_folder_says_so(two: Federation) -> None:
    revoke_client(two.out, "plant-a")
    assert two.look() == ["plant-b"]
    assert [path.name for path in (two.kit / "revoked").iterdir()] == ["plant-a.pub"]
    assert two.said[-1] == "plant-a may no longer join"


def test_a_backup_that_is_started_in_the_kits_place_lets_nobody_in_again(two: Federation) -> None:
    copy, before = two.back_up("monday")
    revoke_client(two.out, "plant-a")
    two.look()
    two.kit, two.flower = copy, before
    assert (copy / "clients" / "plant-a.pub").exists()
    assert two.look() == ["plant-b"]
    assert any("was revoked and stays out" in line for line in two.said)


def test_a_backup_that_is_laid_over_the_kit_lets_nobody_in_again(two: Federation) -> None:
    copy, before = two.back_up("monday")
    revoke_client(two.out, "plant-a")
    shutil.copytree(copy, two.kit, dirs_exist_ok=True)
    two.flower, two.memory = before, two.memory.with_name("another machine")
    assert two.look() == ["plant-b"]


def test_a_backup_elsewhere_keeps_out_whom_the_copied_folder_names(two: Federation) -> None:
    copy, before = two.back_up("monday")
    revoke_client(two.out, "plant-a")
    shutil.copytree(two.kit / "revoked", copy / "revoked")
    two.kit, two.flower, two.memory = copy, before, two.memory.with_name("another machine")
    assert two.look() == ["plant-b"]


def test_a_key_that_is_put_back_by_hand_stays_out_and_a_new_one_comes_in(two: Federation) -> None:
    key = (two.kit / "clients" / "plant-a.pub").read_bytes()
    revoke_client(two.out, "plant-a")
    two.look()
    (two.kit / "clients" / "plant-z.pub").write_bytes(key)
    two.flower = Flower()
    assert two.look() == ["plant-b"]
    (two.kit / "clients" / "plant-z.pub").unlink()
    shutil.rmtree(two.out / "plant-a")
    add_client(two.out, "plant-a")
    assert two.look() == ["plant-a", "plant-b"]


def test_another_federation_on_the_machine_is_not_concerned(two: Federation, tmp_path: Path) -> None:
    key = (two.kit / "clients" / "plant-a.pub").read_bytes()
    revoke_client(two.out, "plant-a")
    two.look()
    other = Federation.begin(tmp_path / "other", "plant-c")
    other.memory = two.memory
    (other.kit / "clients" / "plant-a.pub").write_bytes(key)
    assert other.look() == ["plant-a", "plant-c"]


def test_a_machine_that_can_keep_nothing_is_told_and_the_kits_folder_holds(two: Federation) -> None:
    two.memory.write_text("no folder")
    revoke_client(two.out, "plant-a")
    assert two.look() == ["plant-b"]
    assert any("revocations cannot be kept outside the kit" in line for line in two.said)


def test_what_a_machine_keeps_is_for_its_owner_alone(two: Federation) -> None:
    before = os.umask(0)
    try:
        revoke_client(two.out, "plant-a")
        two.look()
    finally:
        os.umask(before)
    kept = [two.memory, *two.memory.rglob("*")]
    assert len(kept) == 3
    assert not [path for path in kept if path.stat().st_mode & 0o077]


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "revoke", "back up", "restore", "lay over", "restart"]), st.integers(0, 5)),
    max_size=10,
)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_order_of_things_brings_a_revoked_key_back(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    federation = Federation.begin(tmp_path_factory.mktemp("any"), "plant-0", "plant-1")
    home, copies, revoked = federation.kit, list[tuple[Path, Flower]](), set[bytes]()
    for number, (step, which) in enumerate(steps):
        names = sorted(path.stem for path in (home / "clients").glob("plant-*.pub"))
        if step == "add":
            add_client(federation.out, f"plant-{number + 10}")
        elif step == "revoke" and names:
            name = names[which % len(names)]
            revoked.add(_pem(home / "clients" / f"{name}.pub"))
            revoke_client(federation.out, name)
            if federation.kit != home:  # as the operator is told to do
                shutil.copytree(home / "revoked", federation.kit / "revoked", dirs_exist_ok=True)
            federation.look()
        elif step == "back up":
            copies.append(federation.back_up(f"copy-{number}"))
        elif copies and step in ("restore", "lay over"):
            copy, flower = copies[which % len(copies)]
            federation.flower = flower.copy()
            if step == "restore":
                federation.kit = copy
            else:
                federation.kit = home
                with _members_kept(federation.out):
                    shutil.copytree(copy, home, dirs_exist_ok=True)
                break  # the operator's list and the folder of keys no longer agree
        federation.look()
        assert not revoked & set(federation.flower.names)
    federation.look()
    assert not revoked & set(federation.flower.names)


@contextmanager
def _members_kept(out: Path) -> Iterator[None]:
    before = (out / "ca" / "members.json").read_bytes()
    yield
    assert (out / "ca" / "members.json").read_bytes() == before


def _pem(path: Path) -> bytes:
    from werkbund.flower.server.control import as_pem

    return as_pem(path.read_bytes(), path.stem)


@pytest.mark.slow
def test_a_real_server_that_is_started_from_a_backup_keeps_a_revoked_key_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    kits = make_kits(tmp_path / "kits", "plant-a", "plant-b")
    with _server(kits / "server") as said:
        wait_for(lambda: {"plant-a may join", "plant-b may join"} <= {*said})
        copy = back_up(kits / "server", tmp_path / "monday")
        revoke_client(kits, "plant-a")
        wait_for(lambda: "plant-a may no longer join" in said)
    with _server(copy) as said:
        wait_for(lambda: "plant-a may no longer join" in said)
        with connect(load_server_settings(copy)) as control:
            assert [node.name for node in control.nodes()] == ["plant-b"]
    assert any("was revoked and stays out" in line for line in said)


@contextmanager
def _server(kit: Path) -> Iterator[list[str]]:
    def make(say: Any) -> ServerHost:
        return ServerHost(kit, say)

    with running(make) as held:
        yield held.said
