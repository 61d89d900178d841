"""Who may join: the keys in the server's folder `clients/`, carried over into Flower's list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from werkbund.core.errors import ClientError, ConfigError
from werkbund.flower.server.control import Control, Node, as_pem

Snapshot = frozenset[tuple[str, int, int]]


class Roster:
    """Look at the folder, and have Flower's list follow it.

    Parameters
    ----------
    folder
        Holds a file NAME.pub for each client.
    connect
        Opens the Control API.
    say
        Takes lines for people.
    """

    def __init__(self, folder: Path, connect: Callable[[], Control], say: Callable[[str], None]) -> None:
        self._folder, self._connect, self._say = folder, connect, say
        self._seen: Snapshot | None = None

    def forget(self) -> None:
        """Compare the next time even if the folder has not changed: Flower's list may have."""
        self._seen = None

    def look(self) -> bool:
        """Compare folder and list if the folder has changed; return whether the list is up to date."""
        now = self._snapshot()
        if now == self._seen:
            return True
        try:
            with self._connect() as control:
                follow(control, self._keys(), self._say)
        except ClientError:
            return False
        self._seen = now
        return True

    def _snapshot(self) -> Snapshot:
        stats = [(path.name, path.stat()) for path in self._folder.glob("*.pub")]
        return frozenset((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)

    def _keys(self) -> dict[str, bytes]:
        keys: dict[str, bytes] = {}
        for path in sorted(self._folder.glob("*.pub")):
            try:
                keys[path.stem] = as_pem(path.read_bytes(), path.stem)
            except (ConfigError, OSError) as error:
                self._say(str(error))
        return keys


def follow(control: Control, keys: dict[str, bytes], say: Callable[[str], None]) -> None:
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
