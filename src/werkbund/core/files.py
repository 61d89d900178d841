"""Files that appear whole under their names, places for their owner alone, and for one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from werkbund.core.errors import ConfigError

FOR_OTHERS = 0o077
"""The umask of a process whose files hold rows, keys, or what was computed from rows."""

_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\.new")


def write_atomically(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file that appears whole under its name, and is on disk when this returns.

    Each writer has a draft of its own, so that of several at once one's content stands there, whole. Drafts whose
    writers were killed are removed by the next that writes into the folder.

    Parameters
    ----------
    path
        The file; its folder exists.
    content
        All of it.
    mode
        Who may read and write the file, from its first byte on; None: as this process's other files.

    Raises
    ------
    OSError
        If it cannot be written; what stood under the name still stands there.
    """
    _remove_left_drafts(path.parent)
    with _new_draft(path, mode) as draft:
        try:
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
            os.replace(draft.name, path)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise
    to_disk(path.parent)  # the new name is on disk only when its folder is


def write_privately(path: Path, content: bytes) -> None:
    """Write a file as `write_atomically` does, which its owner alone may read from its first byte on."""
    write_atomically(path, content, 0o600)


def open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a file, which its owner alone may read if it is made here; `mode` is one of those for bytes."""
    return cast(IO[bytes], open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600)))


def make_private(folder: Path) -> Path:
    """Make a folder, or take an existing one, that its owner alone may enter; return it.

    Folders above it that are not there yet are made alike.
    """
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & FOR_OTHERS:
        folder.chmod(0o700)
    return folder


def to_disk(path: Path) -> None:
    """Return when a file or a folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(lock: Path, what: str) -> Iterator[None]:
    """Be the only one that does something, while the context lasts.

    The operating system gives the lock back when a process ends, however it ends.

    Parameters
    ----------
    lock
        A file for this alone; its folder exists. It is removed at the end.
    what
        What is done, in words for the message.

    Raises
    ------
    ConfigError
        If somebody else does it already.
    """
    with _locked(lock, what) as file:
        try:
            file.write(str(os.getpid()).encode())
            file.flush()
            yield
        finally:
            lock.unlink(missing_ok=True)


def _new_draft(path: Path, mode: int | None) -> BinaryIO:
    """Open a file beside a path for its content alone; it is locked as long as it is open."""

    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if mode is None else mode)

    while True:
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
        draft = open(beside, "xb", opener=private)  # noqa: SIM115 - the caller closes it
        with contextlib.suppress(OSError):  # of a file system without locks; then drafts that are left stay
            fcntl.flock(draft, fcntl.LOCK_EX)
        if mode is not None:
            os.fchmod(draft.fileno(), mode)  # whatever the umask took away
        if os.fstat(draft.fileno()).st_nlink:
            return draft
        draft.close()  # another writer took it for one that was left, before it was locked


def _remove_left_drafts(folder: Path) -> None:
    for name in os.listdir(folder):
        if _DRAFT.fullmatch(name):
            with contextlib.suppress(OSError), (folder / name).open("rb") as draft:
                fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
                (folder / name).unlink()


def _locked(lock: Path, what: str) -> BinaryIO:
    """Open a lock's file as the only one that has it locked."""
    while True:
        file = lock.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                file.truncate(0)
                return file
        except BlockingIOError:
            file.seek(0)
            who = file.read(20).decode(errors="replace") or "that has just begun"
            file.close()
            raise ConfigError(f"{what} must run once, but process {who} runs it already; stop that one first") from None
        except BaseException:
            file.close()
            raise
        file.close()  # the one before removed it in the meantime
