"""A plant's part in secure sums: its register of plants, its key, and what it remembers in a file of its own.

The register is the folder `plants/` of the kit. What is remembered lies in `state/sums.npz`. It is written before an
answer leaves, and does not go back when a server goes back to an earlier round: a sum that was answered stays answered.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.config.sections import Config
from werkbund.core.arrays import AnyArray
from werkbund.core.errors import CheckpointError
from werkbund.core.files import make_private, write_privately
from werkbund.engine.masking import Masking
from werkbund.federation.wiring import promise_of
from werkbund.plant.ledger import signing_key
from werkbund.plant.settings import PlantSettings
from werkbund.privacy.sums import Participant, Register

FILE_NAME, PLANTS = "sums.npz", "plants"
"""What is remembered, in the folder of the plant's state; and the folder of all plants' public keys, in its kit."""

_RUN = "run"
_REMEDY = "remove it to begin anew, and tell the operator: what was answered in secure sums is forgotten then"


class PlantSums:
    """Take part in the secure sums of runs.

    Parameters
    ----------
    settings
        The plant's own file.
    state
        The folder of what it keeps.
    """

    def __init__(self, settings: PlantSettings, state: Path) -> None:
        self._settings, self._path = settings, state / FILE_NAME
        self._arrays: dict[str, AnyArray] | None = None
        self._masking: tuple[tuple[str, str], Masking] | None = None

    def masking(self, run: str, config: Config, version: str) -> Masking:
        """Return what masks a run's answers, which are about the rows of a version: about others a question is new.

        Raises
        ------
        ConfigError
            If the kit lacks the keys of all plants, or the plant is not among them.
        CheckpointError
            If what is remembered was damaged.
        """
        if self._masking is None or self._masking[0] != (run, version):
            participant, kept = self._participant(run, config), self._remembered()
            name = np.frombuffer(run.encode(), np.uint8)
            if not np.array_equal(kept.get(_RUN, name[:0]), name):
                kept.update({_RUN: name, **Masking.nothing_kept(0)})
            promise = promise_of(config)
            share = promise.share if promise else None
            self._masking = (run, version), Masking({0: participant}, version.encode(), kept, share)
        return self._masking[1]

    def save(self) -> None:
        """Write what is remembered, where there is anything."""
        if self._arrays:
            buffer, named = io.BytesIO(), dict[str, Any](self._arrays)
            np.savez(buffer, **named)
            make_private(self._path.parent)
            write_privately(self._path, buffer.getvalue())

    def _participant(self, run: str, config: Config) -> Participant:
        section = config.privacy
        register = Register.read(self._settings.kit / PLANTS, section.colluding, section.strict)
        number = register.number(self._settings.client.name)
        return Participant(register, number, signing_key(self._settings), run, self._remembered())

    def _remembered(self) -> dict[str, AnyArray]:
        if self._arrays is None:
            self._arrays = remembered(self._path)
        return self._arrays


def remembered(path: Path) -> dict[str, AnyArray]:
    """Return what a plant remembers of secure sums; nothing before the first.

    Raises
    ------
    CheckpointError
        If the file was damaged: what a plant has answered must not be forgotten silently.
    """
    if not path.is_file():
        return {}
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zip and array readers each have their own errors for damaged bytes
        raise CheckpointError(f"{path} cannot be read: {error}; {_REMEDY}") from error
