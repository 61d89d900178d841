"""Who may join: the keys in a kit's `clients/`, but for those that were revoked, as Flower's list has them.

What was revoked stays so, whatever is restored. `clients/` and Flower's list are part of a backup; the folder
`revoked/` of a kit is not, and a machine keeps a copy of it outside the kit, for all kits of the federation's CA.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import platformdirs

from werkbund.core.errors import ClientError, ConfigError
from werkbund.core.files import make_private, write_privately
from werkbund.flower.server.control import Control, Node, as_pem

CLIENTS, REVOKED = "clients", "revoked"
"""Folders of a kit, with a file NAME.pub for each key."""

KeyFiles = frozenset[tuple[str, int, int]]
"""Name, time of the last change in ns, and bytes of each file in the folders of keys."""


class Roster:
    """Keep Flower's list of clients as the folders of keys have it.

    Parameters
    ----------
    kit
        The server's.
    connect
        Opens the Control API.
    say
        Takes lines for people.
    memory
        Where this machine keeps revoked keys; None for the user's own folder of states.
    """

    def __init__(
        self, kit: Path, connect: Callable[[], Control], say: Callable[[str], None], memory: Path | None = None
    ) -> None:
        self._kit, self._connect, self._say = kit, connect, say
        self._memory = memory or platformdirs.user_state_path("werkbund") / REVOKED
        self._seen: KeyFiles | None = None

    def forget(self) -> None:
        """Compare folders and list the next time even if no folder has changed: Flower's list may have."""
        self._seen = None

    def look(self) -> bool:
        """Compare folders and list if a folder has changed; return whether the list is up to date."""
        now = self._key_files()
        if now == self._seen:
            return True
        revoked = self._revoked()
        keys = self._keys(self._kit / CLIENTS)
        for name in [name for name, key in keys.items() if key in revoked]:
            self._say(f"the key of {name!r} in {CLIENTS}/ was revoked and stays out; make a new one to let it join")
            del keys[name]
        try:
            with self._connect() as control:
                synchronise(control, keys, self._say)
        except ClientError:
            return False
        self._seen = now
        return True

    def _key_files(self) -> KeyFiles:
        paths = [path for folder in (CLIENTS, REVOKED) for path in (self._kit / folder).glob("*.pub")]
        stats = [(f"{path.parent.name}/{path.name}", path.stat()) for path in paths]
        return frozenset((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)

    def _revoked(self) -> set[bytes]:
        """Return the keys that were revoked by the kit or by what this machine remembers, which from now on is both."""
        memory = self._memory / hashlib.sha256((self._kit / "ca.crt").read_bytes()).hexdigest()[:32]
        known = {*self._keys(memory).values()}
        new = {*self._keys(self._kit / REVOKED).values()} - known
        try:
            for key in new:
                write_privately(make_private(memory) / f"{hashlib.sha256(key).hexdigest()[:32]}.pub", key)
        except OSError as error:
            self._say(
                f"revocations cannot be kept outside the kit ({error}): before a backup takes this kit's place, copy "
                f"{self._kit / REVOKED} into it"
            )
        return known | new

    def _keys(self, folder: Path) -> dict[str, bytes]:
        keys: dict[str, bytes] = {}
        for path in sorted(folder.glob("*.pub")):
            try:
                keys[path.stem] = as_pem(path.read_bytes(), path.stem)
            except (ConfigError, OSError) as error:
                self._say(str(error))
        return keys


def synchronise(control: Control, keys: dict[str, bytes], say: Callable[[str], None]) -> None:
    """Register the keys that are missing in Flower's list, and remove those that are there without being wanted.

    Parameters
    ----------
    control
        The Control API.
    keys
        Client's name -> its key in PEM.
    say
        Takes a line for each change, and for each key that Flower refuses.

    Raises
    ------
    ClientError
        If the SuperLink does not answer.
    """
    registered = {node.public_key: node for node in control.nodes()}
    for key, node in registered.items():
        if key not in keys.values():
            _remove(control, node, say)
    for name, key in keys.items():
        if key not in registered:
            _add(control, name, key, say)
        elif registered[key].name != name:
            say(f"the key of {name!r} is registered as {registered[key].name!r}; make a new key for {name!r}")


def _remove(control: Control, node: Node, say: Callable[[str], None]) -> None:
    try:
        control.unregister(node.node_id)
        say(f"{node.name or node.node_id} may no longer join")
    except ConfigError as error:
        say(str(error))


def _add(control: Control, name: str, key: bytes, say: Callable[[str], None]) -> None:
    try:
        control.register(name, key)
        say(f"{name} may join")
    except ConfigError as error:
        say(str(error))
