"""A plant's worker that spoils its updates, in each round in another way: `python bad_worker.py KIT [WAY ...]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.spoilt import BAD_TRAINING, Spoil, parts, spoilt
from werkbund.engine.kinds import TRAIN
from werkbund.flower.plant.answering import Desk, serve
from werkbund.flower.wire.codec import Ask
from werkbund.flower.wire.parcel import Parcel
from werkbund.plant import Plant, PlantFolder, load_settings

HUGE = "a hundred megabytes too much"
WAYS: dict[str, tuple[Spoil, str]] = {
    **BAD_TRAINING,
    HUGE: (parts(vector=lambda raw: raw + bytes(100 * 2**20)), "must have at most"),
}
"""How, and what the record of the round says about it."""


class BadDesk(Desk):
    """Spoil the update of round N in the N-th way; the later ones are good."""

    def __init__(self, plant: Plant, ways: list[str]) -> None:
        super().__init__(plant)
        self._ways = ways

    def answer(self, parcel: Parcel) -> Parcel:
        """Return an answer, spoilt if it is one to training."""
        return spoilt(super().answer, self._spoil)(parcel)

    def _spoil(self, ask: Ask) -> Spoil | None:
        bad = ask.tasks.kind == TRAIN and ask.tasks.round <= len(self._ways)
        return WAYS[self._ways[ask.tasks.round - 1]][0] if bad else None


def main(kit: Path, ways: list[str]) -> None:
    """Serve the plant whose kit this is."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    settings = load_settings(kit)
    serve(BadDesk(Plant(settings, PlantFolder(settings.state)), ways), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
