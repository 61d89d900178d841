"""The worker that stays at a plant: it holds the rows and the network, and answers parcels on a pipe.

`python -m werkbund.flower.plant.worker KIT` reads parcels from stdin and writes their answers to stdout. What anything
else prints goes to stderr. It imports nothing of Flower's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from werkbund.flower.machine.processes import follow_parent
from werkbund.flower.plant.answering import Desk
from werkbund.flower.wire.parcel import read_parcel, write_parcel
from werkbund.plant import Plant, PlantFolder, load_settings


def serve(desk: Desk, asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer parcels until the pipe ends."""
    while (parcel := read_parcel(asked)) is not None:
        write_parcel(answers, desk.answer(parcel))


def main(kit: Path) -> None:
    """Serve the plant whose kit this is."""
    follow_parent()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a print must not get between parcels
    settings = load_settings(kit)
    serve(Desk(Plant(settings, PlantFolder(settings.state))), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
