"""Files with the access that they need: keys for their owner alone, from their first byte on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from werkbund.core.files import write_atomically

PRIVATE = frozenset({"ca.key", "server.key", "client.key", "executor.secret"})
"""Names of files that only their owner may read."""

EXECUTABLE = frozenset({"start.sh"})


def write_file(path: Path, content: bytes) -> None:
    """Write a file that appears whole under its name, with the access that its name asks for."""
    mode = 0o600 if path.name in PRIVATE else 0o755 if path.name in EXECUTABLE else 0o644
    write_atomically(path, content, mode)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder that its owner alone may enter; names may have folders before them."""
    make_private(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write_file(path, content)


def make_private(folder: Path) -> None:
    """Make a folder, or take an existing one, that its owner alone may enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
