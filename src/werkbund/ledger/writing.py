"""The file of a ledger: lines are added at its end, and are on disk before whoever adds them goes on."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from werkbund.core.errors import CheckpointError
from werkbund.core.files import make_private, open_private, to_disk
from werkbund.core.keys import PrivateKey, fingerprint
from werkbund.ledger.lines import FORMAT, START, Head, digest_of, entry_in, signed_line

INCIDENT = "incident"
"""Kind of an entry about something that went wrong with the ledger itself."""

_BLOCK = 2**16
_REMEDY = "keep a copy of it for whoever looks into this, and move it away; the next answer begins a new one"

Entry = tuple[str, Mapping[str, Any]]
"""A kind, and what is to be said."""


class Ledger:
    """Add lines to a plant's ledger; of several processes one does at a time.

    A last line without an end is what a crash has left: it is cut off, and an entry says so. A clock that goes back is
    said too, and the time of entries stays where it was until the clock has come after.

    Parameters
    ----------
    path
        The file.
    plant
        Name of the plant.
    key
        The plant's private key.
    clock
        Tells the time, with its zone.
    begins
        Returns the entries that begin each process's part, such as which versions are at work.
    """

    def __init__(
        self,
        path: Path,
        plant: str,
        key: PrivateKey,
        clock: Callable[[], datetime],
        begins: Callable[[], Sequence[Entry]] = tuple,
    ) -> None:
        self.path, self._plant, self._key, self._clock, self._begins = path, plant, key, clock, begins
        self._name = fingerprint(key.public_key())
        self._has_begun, self._is_late, self._size = False, False, -1
        self._head, self._time = Head(-1, START), ""

    def add(self, kind: str, facts: Mapping[str, Any]) -> Head:
        """Add an entry, which is on disk when this returns.

        Parameters
        ----------
        kind
            Of the entry.
        facts
            What it says: values that `canonical` takes.

        Returns
        -------
        Head
            The ledger's, with this entry as its last.

        Raises
        ------
        OSError
            If it cannot be written; then it is not there.
        CheckpointError
            If the ledger was damaged: an entry behind it could not be trusted.
        """
        make_private(self.path.parent)
        is_new = not self.path.exists()
        with open_private(self.path, "ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            entries = [*self._repaired(file), *([] if self._has_begun else self._begins()), (kind, facts)]
            self._write(file, entries)
        if is_new:
            to_disk(self.path.parent)
        return self._head

    def _repaired(self, file: IO[bytes]) -> list[Entry]:
        """Find where the ledger stands, if somebody else has written, and return what is to be said about it."""
        size = file.seek(0, os.SEEK_END)
        if size == self._size:
            return []
        last, cut = _last_line(file, size)
        if last is None:
            self._head, self._time = Head(-1, START), ""
        else:
            try:
                entry = entry_in(last)
            except CheckpointError as error:
                raise CheckpointError(f"the last line of {self.path} {error}; {_REMEDY}") from error
            self._head, self._time = Head(entry["seq"], digest_of(last)), entry["time"]
        if not cut:
            return []
        file.truncate(size - len(cut))
        return [(INCIDENT, {"what": "the last line was cut short", "bytes": len(cut), "sha384": digest_of(cut)})]

    def _write(self, file: IO[bytes], entries: Sequence[Entry]) -> None:
        """Write entries, all or none."""
        begin, head, time = file.seek(0, os.SEEK_END), self._head, self._time
        now = self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if now < time and not self._is_late:
            entries = [(INCIDENT, {"what": "the clock went back", "clock": now}), *entries]
        self._is_late, time = now < time, max(now, time)
        content = b""
        for kind, facts in entries:
            line = signed_line({**facts, **self._fixed(head, time), "kind": kind}, self._key)
            content, head = content + line + b"\n", Head(head.seq + 1, digest_of(line))
        try:
            _to_file(file, content)
        except OSError:
            self._size = -1
            with contextlib.suppress(OSError):  # else the next one that writes cuts it off
                os.ftruncate(file.fileno(), begin)
            raise
        self._head, self._time, self._size, self._has_begun = head, time, begin + len(content), True

    def _fixed(self, head: Head, time: str) -> dict[str, Any]:
        own = {"v": FORMAT, "plant": self._plant, "key": self._name}
        return {**own, "seq": head.seq + 1, "time": time, "prev": head.digest}


def _to_file(file: IO[bytes], content: bytes) -> None:
    """Write at the end of a file, and return when that is on disk."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]
    os.fsync(file.fileno())


def _last_line(file: IO[bytes], size: int) -> tuple[bytes | None, bytes]:
    """Return the last line that has an end, None if there is none, and what stands behind it."""
    begin, tail = size, b""
    while begin > 0 and tail.count(b"\n") < 2:
        begin = max(begin - _BLOCK, 0)
        file.seek(begin)
        tail = file.read(size - begin)
    whole, end, cut = tail.rpartition(b"\n")
    return (whole.rpartition(b"\n")[2] if end else None), cut
