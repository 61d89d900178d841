"""Files with the access that they need: keys for their owner alone, from their first byte on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from werkbund.core.files import make_private, write_atomically

PRIVATE = frozenset({"ca.key", "server.key", "client.key", "executor.secret"})
"""Names of files that only their owner may read."""

EXECUTABLE = frozenset({"start.sh"})


def write_file(path: Path, content: bytes) -> None:
    """Write a file that appears whole under its name, with the access that its name asks for."""
    mode = 0o600 if path.name in PRIVATE else 0o755 if path.name in EXECUTABLE else 0o644
    write_atomically(path, content, mode)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder that its owner alone may enter.

    Parameters
    ----------
    folder
        Is made if it is not there.
    files
        Contents by name; names may have folders before them.
    """
    make_private(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write_file(path, content)
