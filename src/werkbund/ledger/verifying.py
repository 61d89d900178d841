"""Whether a ledger is whole: anybody with the plant's public key can tell, and with the server's receipts also whether
lines are missing at its end, or whether another ledger was shown to the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.core.keys import PublicKey, fingerprint
from werkbund.ledger.lines import FORMAT, START, Head, digest_of, entry_in, is_by
from werkbund.ledger.receipts import Receipt

Rule = Callable[[Sequence[Mapping[str, Any]]], Iterator[tuple[int, str]]]
"""Looks at all entries and yields the number of a line, from 1, and what is wrong there."""


@dataclass(frozen=True)
class Verified:
    """Hold a ledger's entries and what is wrong with it.

    Parameters
    ----------
    entries
        Those before the first bad line.
    head
        Of the last of them; number -1 if there is none.
    line
        Number of the first bad line, from 1; 0 if there is none.
    fault
        What is wrong there; empty if nothing is.
    num_receipts
        How many of the server's receipts were found to fit.
    """

    entries: tuple[Mapping[str, Any], ...]
    head: Head
    line: int = 0
    fault: str = ""
    num_receipts: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the entries."""
        return {
            "whole": not self.fault,
            "lines": len(self.entries),
            "head": {"seq": self.head.seq, "sha384": self.head.digest},
            "first_bad_line": self.line or None,
            "fault": self.fault,
            "receipts": self.num_receipts,
        }


def lines_of(path: Path) -> list[bytes]:
    """Return the lines of a ledger's file, the last also if it has no end.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"the ledger must be a readable file, got {path} ({error.strerror})") from error
    return lines[:-1] if not lines[-1] else lines


def verified(
    path: Path, keys: Sequence[PublicKey], receipts: Sequence[Receipt] = (), rules: Sequence[Rule] = ()
) -> Verified:
    """Check a ledger from its first line on.

    Parameters
    ----------
    path
        Its file.
    keys
        Public keys of the plant: usually one, more where it has changed its key.
    receipts
        What the server was shown of this plant's ledger.
    rules
        What else must hold of the entries.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    found = _chained(path, {fingerprint(key): key for key in keys})
    faults = [(found.line, found.fault)] if found.fault else []
    bad = [_fault_of(receipt, found) for receipt in receipts]
    faults += [fault for fault in bad if fault is not None]
    faults += [fault for rule in rules for fault in rule(found.entries)]
    line, fault = min(faults, default=(0, ""))
    return Verified(found.entries, found.head, line, fault, len(receipts) - sum(one is not None for one in bad))


def _chained(path: Path, keys: Mapping[str, PublicKey]) -> Verified:
    """Check form, order, chain and signature of each line, up to the first that is bad."""
    entries: list[Mapping[str, Any]] = []
    head, before = Head(-1, START), {"time": "", "plant": None}
    content = path.read_bytes() if path.is_file() else b""
    lines = lines_of(path)
    for number, line in enumerate(lines, 1):
        try:
            entry = entry_in(line)
            fault = _fault_in(entry, head, before, keys)
        except CheckpointError as error:
            fault = str(error)
        if number == len(lines) and not content.endswith(b"\n"):
            fault = "was cut short: it has no end"
        if fault:
            return Verified(tuple(entries), head, number, fault)
        entries.append(entry)
        head, before = Head(entry["seq"], digest_of(line)), entry
    return Verified(tuple(entries), head)


def _fault_in(entry: Mapping[str, Any], head: Head, before: Mapping[str, Any], keys: Mapping[str, PublicKey]) -> str:
    """Return what is wrong with an entry behind a head; empty if nothing is."""
    if entry["v"] != FORMAT:
        return f"is of format {entry['v']}, and this version reads {FORMAT}"
    if entry["seq"] != head.seq + 1:
        return f"has the number {entry['seq']} where {head.seq + 1} must be: lines are missing, or stand twice"
    if entry["prev"] != head.digest:
        return "does not follow from the line before: that one was changed, or is another"
    if entry["key"] not in keys:
        return f"is signed by a key that is not the plant's: {entry['key']}"
    if not is_by(entry, keys[entry["key"]]):
        return "has a signature that is not that of the plant's key over this line"
    if before["plant"] not in (None, entry["plant"]):
        return f"is of {entry['plant']}, and those before are of {before['plant']}"
    if not _is_time(entry["time"]) or entry["time"] < before["time"]:
        return f"is of {entry['time']}, and the one before is of {before['time'] or 'no time'}"
    return ""


def _fault_of(receipt: Receipt, found: Verified) -> tuple[int, str] | None:
    """Return where a receipt of the server does not fit; None if it does, or lies behind a bad line anyway."""
    line = receipt.head.seq + 1
    if found.line and line >= found.line:
        return None
    told = f"the server's receipt of {receipt.time} for the {receipt.task} task of round {receipt.round}"
    if line > len(found.entries):
        return len(found.entries) + 1, f"is missing: {told} names line {line}"
    digest = found.head.digest if line == len(found.entries) else found.entries[line]["prev"]
    if digest != receipt.head.digest:
        return line, f"is another one than the server was shown, by {told}"
    return None


def _is_time(text: str) -> bool:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").strftime("%Y-%m-%dT%H:%M:%SZ") == text
    except ValueError:
        return False
