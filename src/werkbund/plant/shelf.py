"""A folder that keeps the last few contents that were put on it, each under a key."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from werkbund.core.errors import CheckpointError
from werkbund.core.files import make_private, write_privately

_NAME = re.compile(r"\d+-[0-9a-f]{32}-[0-9a-f]{32}")
_CHECKSUM_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Shelf:
    """Keep contents by key, the newest of them.

    A content is one file, `<number>-<digest of group>-<digest of key>`, so that neither keys nor groups need be fit
    for names of files; the numbers rise. In it a checksum stands before the content.

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
        make_private(self.folder)
        files = self._files()
        number = int(files[-1].name.split("-")[0]) + 1 if files else 1
        path = self.folder / f"{number:012d}-{digest(group)}-{digest(key)}"
        write_privately(path, hashlib.sha256(content).digest() + content)
        self._tidy()

    def get(self, key: str) -> bytes | None:
        """Return the content under a key; None if there is none.

        Raises
        ------
        CheckpointError
            If it cannot be read, or is not what was put there.
        """
        paths = [path for path in self._files() if path.name.endswith(f"-{digest(key)}")]
        if not paths:
            return None
        try:
            written = paths[-1].read_bytes()
        except OSError as error:
            raise CheckpointError(f"{paths[-1]} cannot be read: {error.strerror}; remove it") from error
        content = written[_CHECKSUM_BYTES:]
        if hashlib.sha256(content).digest() != written[:_CHECKSUM_BYTES]:
            raise CheckpointError(f"{paths[-1]} was cut short, or changed after it was written; remove it")
        return content

    def _files(self) -> list[Path]:
        """Return the contents, the oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*-*-*") if _NAME.fullmatch(path.name))

    def _tidy(self) -> None:
        keys: set[str] = set()
        groups: list[str] = []
        for path in reversed(self._files()):
            _, group, key = path.name.split("-")
            if group not in groups:
                groups.append(group)
            if key in keys or len(keys) == self.most or groups.index(group) >= self.groups:
                _remove(path)
            else:
                keys.add(key)


def _remove(path: Path) -> None:
    if path.is_dir():  # somebody put it there
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def digest(text: str) -> str:
    """Return a name fit for a file, which differs as soon as the text does."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
