"""What a server keeps of the plants' ledgers: with each answer comes how far the plant's ledger goes, and its digest.

A ledger whose end was cut off, or of which two versions exist, is whole by itself; only somebody else who was shown it
before can tell.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from werkbund.core.errors import CheckpointError
from werkbund.core.stored import stored_value
from werkbund.ledger.lines import Head

FILE_NAME = "receipts.jsonl"


@dataclass(frozen=True)
class Receipt:
    """Hold what one answer said of its plant's ledger.

    Parameters
    ----------
    plant
        Its name.
    head
        Of its ledger, once the answer was written down there.
    task, round
        What was answered.
    time
        When it arrived, UTC in ISO 8601.
    """

    plant: str
    head: Head
    task: str
    round: int
    time: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        head = {"seq": self.head.seq, "sha384": self.head.digest}
        return {"plant": self.plant, **head, "task": self.task, "round": self.round, "time": self.time}


@dataclass(frozen=True)
class Receipts:
    """Keep receipts in a run's folder, one line each.

    Parameters
    ----------
    folder
        Of the run.
    """

    folder: Path

    def keep(self, plant: str, head: Head, task: str, round: int) -> None:
        """Add what an answer said."""
        receipt = Receipt(plant, head, task, round, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        with (self.folder / FILE_NAME).open("ab") as file:
            file.write(json.dumps(receipt.to_json()).encode() + b"\n")

    def of(self, plant: str) -> tuple[Receipt, ...]:
        """Return a plant's receipts, in the order in which they came.

        Raises
        ------
        CheckpointError
            If there are none of any plant, or a line of the file is no receipt.
        """
        path = self.folder / FILE_NAME
        if not path.is_file():
            raise CheckpointError(f"{path} must be there; name the folder of a run over a network at its server")
        lines = path.read_bytes().splitlines()
        return tuple(receipt for line in lines if (receipt := _receipt(line, path)).plant == plant)


_FORM = dict[str, str | int]


def _receipt(line: bytes, path: Path) -> Receipt:
    values = stored_value(line, _FORM, f"a line of {path}", "leave it out")
    try:
        head = Head(int(values["seq"]), str(values["sha384"]))
        return Receipt(str(values["plant"]), head, str(values["task"]), int(values["round"]), str(values["time"]))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"a line of {path} is no receipt: {error!r}; leave it out") from error
