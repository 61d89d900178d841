"""A folder that keeps the last few contents that were put on it, each under a key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from werkbund.core.files import write_atomically


@dataclass(frozen=True)
class Shelf:
    """Keep contents by key, the newest of them.

    A content is one file, `<number>-<digest of group>-<digest of key>`, so that neither keys nor groups need be fit
    for names of files; the numbers rise.

    Parameters
    ----------
    folder
        Made when the first content comes.
    most
        As many contents are kept.
    groups
        Of as many groups, those that were put last.
    """

    folder: Path
    most: int
    groups: int

    def put(self, key: str, content: bytes, group: str) -> None:
        """Keep a content; one that was under this key before is replaced."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = self._files()
        number = int(files[-1].name.split("-")[0]) + 1 if files else 1
        path = self.folder / f"{number:012d}-{digest(group)}-{digest(key)}"
        write_atomically(path, content)
        self._tidy()

    def get(self, key: str) -> bytes | None:
        """Return the content under a key; None if there is none."""
        paths = [path for path in self._files() if path.name.endswith(f"-{digest(key)}")]
        return paths[-1].read_bytes() if paths else None

    def _files(self) -> list[Path]:
        """Return the contents, the oldest first."""
        return sorted(self.folder.glob("[0-9]*-*-*"))

    def _tidy(self) -> None:
        keys: set[str] = set()
        groups: list[str] = []
        for path in reversed(self._files()):
            _, group, key = path.name.split("-")
            if group not in groups:
                groups.append(group)
            if key in keys or len(keys) == self.most or groups.index(group) >= self.groups:
                path.unlink(missing_ok=True)
            else:
                keys.add(key)


def digest(text: str) -> str:
    """Return a name fit for a file, which differs as soon as the text does."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
