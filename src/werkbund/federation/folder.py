"""A run's folder: where each thing that a run leaves behind is written, and read again to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.config.reading import load_config, to_toml
from werkbund.config.sections import Config
from werkbund.core.arrays import plain
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.core.files import held, write_atomically
from werkbund.core.forms import FORMS, NumberedLine
from werkbund.core.stored import by_dotted_key, read_stored, sealed, stored_value, unsealed
from werkbund.core.types import RoundRecord
from werkbund.engine import Checkpoint, load_checkpoint, save_checkpoint
from werkbund.engine.records import line_of
from werkbund.evaluation import Metrics

_REMEDY = "restore it from a copy, or start the run anew"
_ROUNDS, _MOST_TOLD = "federation.rounds", 3


@dataclass(frozen=True)
class Folder:
    """Write and read a run's folder.

    Parameters
    ----------
    path
        The folder; it exists.
    """

    path: Path

    @classmethod
    def create(cls, name: str, out: Path | str | None) -> Folder:
        """Make the folder of a new run: `out`, or a fresh one under `runs/`.

        Raises
        ------
        ConfigError
            If `out` holds something already: a run never overwrites another.
        """
        if out is not None:
            out = Path(out)
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise ConfigError(f"--out must name a new or empty folder, got {out}; choose another or remove it")
            out.mkdir(parents=True, exist_ok=True)
            return cls(out)
        number = 1
        while True:
            path = Path("runs") / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir(parents=True)
                return cls(path)
            except FileExistsError:
                number += 1

    @classmethod
    def existing(cls, path: Path | str) -> Folder:
        """Open the folder of a run.

        Raises
        ------
        CheckpointError
            If it is none.
        """
        path = Path(path)
        if not (path / "config.toml").is_file() or not (path / "run.json").is_file():
            raise CheckpointError(f"{path} must be a run's folder with config.toml and run.json; runs lie under runs/")
        return cls(path)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Be the only one that works in the folder, while the context lasts.

        Raises
        ------
        ConfigError
            If somebody else does already.
        """
        with held(self.path / ".lock", f"the run in {self.path}"):
            yield

    def write_config(self, config: Config) -> None:
        """Write the resolved configuration."""
        write_atomically(self.path / "config.toml", to_toml(config).encode())

    def read_config(self) -> Config:
        """Read the resolved configuration."""
        return load_config(self.path / "config.toml")

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file whole or not at all; numbers that JSON has no word for become null."""
        write_atomically(self.path / name, (json.dumps(plain(value), indent=1) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file.

        Raises
        ------
        CheckpointError
            If it cannot be read, or a part that is needed is missing or of another type.
        """
        content: dict[str, Any] = read_stored(self.path / name, FORMS.get(name, dict[str, Any]), _REMEDY)
        return content

    def write_sealed(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file that nobody is to edit."""
        self.write_json(name, sealed(plain(value)))

    def read_sealed(self, name: str) -> dict[str, Any]:
        """Read what `write_sealed` wrote.

        Raises
        ------
        CheckpointError
            If it cannot be read, or was changed since.
        """
        return unsealed(self.read_json(name), str(self.path / name), _REMEDY)

    def settings(self) -> dict[str, Any]:
        """Return the configuration as run.json keeps it, to tell later whether the file was edited."""
        settings: dict[str, Any] = plain(self.read_config().model_dump(mode="json"))
        return settings

    def check_not_edited(self, about: Mapping[str, Any]) -> None:
        """Refuse a configuration that is not the one with which the run began; `about` is the content of run.json.

        More rounds than were planned may be written: then the run goes on for longer.

        Raises
        ------
        CheckpointError
            If it was edited; the keys are named.
        """
        before, now = by_dotted_key(about["config"]), by_dotted_key(self.settings())
        longer = {_ROUNDS} if now[_ROUNDS] > before.get(_ROUNDS, 0) else set()
        edited = sorted(key for key in (before.keys() | now.keys()) - longer if before.get(key) != now.get(key))
        if edited:
            told = "; ".join(f"{key} was {before.get(key)!r} and is {now.get(key)!r}" for key in edited[:_MOST_TOLD])
            raise CheckpointError(
                f"{self.path / 'config.toml'} was edited after the run began: {told}; restore that, or start a new run"
            )

    def append_round(self, record: RoundRecord, scores: Mapping[str, Metrics]) -> None:
        """Add a round's line to rounds.jsonl."""
        line = json.dumps(
            plain({**line_of(record), "metrics": {split: told.to_json() for split, told in scores.items()}})
        )
        with (self.path / "rounds.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def credits(self) -> list[dict[str, Any]]:
        """Return what clients contributed, one entry a round that tells it."""
        path = self.path / "rounds.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [told for line in lines if (told := json.loads(line).get("credits"))]

    def forget_rounds_after(self, last: int) -> None:
        """Drop the lines of rounds that a resumed run does again, and a last line that was cut short.

        Raises
        ------
        CheckpointError
            If another line is no record of a round.
        """
        path = self.path / "rounds.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        remedy = "restore the file from a copy, or remove that line"
        numbers = [
            stored_value(line, NumberedLine, f"{path}, line {place},", remedy)["round"]
            for place, line in enumerate(whole, start=1)
        ]
        write_atomically(path, b"".join(line for line, round in zip(whole, numbers, strict=True) if round <= last))

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the run's checkpoint."""
        save_checkpoint(self.path / "checkpoint.npz", checkpoint)

    def load_checkpoint(self) -> Checkpoint:
        """Read the run's checkpoint.

        Raises
        ------
        CheckpointError
            If it is missing, cut short, changed or of another version.
        """
        return load_checkpoint(self.path / "checkpoint.npz")
