"""A run's folder as one typed value: the report's only source.

A folder may be incomplete: a run that is still going, that was stopped, or that trained no baseline. What is not
there is empty here, and the report leaves it out. Only a file that is there and cannot be read is an error.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from werkbund.core import DataError
from werkbund.evaluation import Contest
from werkbund.report.values import ClientLine, ClientSkew, Curves, Json, RoundLine, Scores, SeedRow, number


@dataclass(frozen=True)
class Result:
    """Hold what a finished run ended with.

    Parameters
    ----------
    best_round
        The round whose weights were kept; None if it was not written.
    stopped
        Why the run ended, in words.
    threshold
        Probability at and above which the model raises an alarm.
    scores
        By contender ("federated", "local_mean", "pooled", "pooled_gbdt", "pooled_forest"), on the same test rows.
    curves
        By split.
    cost_curve
        "threshold" and one list a contender, all of one length: cost per 1000 rows.
    delivered
        By plant, what it made of the model: "taken", "refused" or "no answer", and why; empty for a simulation.
    own_rows
        The contest on the plants' own test rows; None if there was none.
    later
        How models do in a later period, see `evaluation.compare_periods`; empty where none was held out.
    apart
        How the model does on the own test rows of plants that attacked, which are in no other figure.
    untrained
        Plants that never trained, in a run in which each has a model of its own.
    privacy
        What training promised of a row, a machine or a plant, and what each plant spent; empty where it promised
        nothing.
    success
        Share of failures that a back door's pattern hides, 0..1; NaN where there was none.
    contributions
        What each plant contributed over the rounds; empty where that was not asked for.
    clusters
        `members`, the names of the plants of each cluster, `unused`, how many models nobody takes, and
        `keep_their_own`, who keeps a model alone; empty where there is one model.
    """

    best_round: int | None
    stopped: str
    seconds: float
    threshold: float
    scores: Mapping[str, Scores]
    clients: tuple[ClientLine, ...]
    curves: Mapping[str, Curves]
    cost_curve: Mapping[str, tuple[float, ...]]
    delivered: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    own_rows: Contest | None = None
    later: Json = field(default_factory=dict)
    apart: tuple[ClientLine, ...] = ()
    success: float = math.nan
    contributions: Json = field(default_factory=dict)
    clusters: Json = field(default_factory=dict)
    untrained: tuple[str, ...] = ()
    privacy: Json = field(default_factory=dict)

    @classmethod
    def parse(cls, written: Json) -> Result:
        """Read the content of result.json, and check its fields."""
        plain = Scores.parse(written)
        best = written.get("best_round")
        stopped = written.get("stopped")
        attack = written.get("attack") or {}
        return cls(
            None if best is None else int(best),
            stopped if isinstance(stopped, str) else "",
            plain["seconds"],
            plain["threshold"],
            {who: Scores.parse(scores) for who, scores in (written.get("metrics") or {}).items() if scores},
            tuple(ClientLine.parse(line) for line in written.get("per_client") or ()),
            {split: Curves.parse(curves) for split, curves in (written.get("curve") or {}).items() if curves},
            {
                name: tuple(number(value, f"cost_curve.{name}") for value in values)
                for name, values in (written.get("cost_curve") or {}).items()
                if values
            },
            {
                name: _reception(answer)
                for name, answer in (written.get("delivered") or {}).items()
                if isinstance(answer, dict)
            },
            Contest.from_json(written["own_rows"]) if written.get("own_rows") else None,
            written.get("later") or {},
            tuple(ClientLine.parse(line) for line in attack.get("apart") or ()),
            number(attack.get("success"), "attack.success"),
            written.get("contributions") or {},
            written.get("clusters") or {},
            tuple(map(str, (written.get("personal") or {}).get("untrained") or ())),
            written.get("privacy") or {},
        )


def _reception(answer: Json) -> tuple[str, str]:
    """Return what a plant made of the model that it was offered, and why."""
    words = {True: "taken", False: "refused"}
    accepted = answer.get("accepted")
    return words[accepted] if isinstance(accepted, bool) else "no answer", str(answer.get("reason") or "")


@dataclass(frozen=True)
class RunFolder:
    """Hold everything that a run wrote for people.

    Parameters
    ----------
    about
        run.json as it stands: what was run, on which data, with which versions.
    rounds
        One a round, in order; where a round was written twice (after a resume) the later line counts.
    comparison
        The contenders over several seeds; empty if one seed was run.
    contest_of_seeds
        The contest on own rows in the mean over several seeds; None if one seed was run.
    card
        The model card; empty if no model was written.
    config
        The resolved configuration as TOML text; empty if it was not written.
    """

    path: Path
    about: Json
    rounds: tuple[RoundLine, ...] = ()
    result: Result | None = None
    seeds: tuple[int, ...] = ()
    comparison: tuple[SeedRow, ...] = ()
    card: Json | None = None
    config: str = ""
    contest_of_seeds: Contest | None = None

    @property
    def own_rows(self) -> Contest | None:
        """The contest on the plants' own rows: over all seeds if several were run; None if there was none."""
        return self.contest_of_seeds or (self.result.own_rows if self.result else None)

    @property
    def name(self) -> str:
        """The run's name; that of its folder if it has none."""
        return str(self.about.get("name") or self.path.resolve().name)

    @cached_property
    def clients(self) -> tuple[str, ...]:
        """Names of all clients, in the order of their numbers."""
        written = tuple(str(name) for name in self.about.get("clients") or ())
        scored = self.result.clients if self.result else ()
        return written or tuple(line.name for line in scored)

    @cached_property
    def skew(self) -> ClientSkew | None:
        """How the clients' rows differ; None if it was not written."""
        written = self.about.get("skew")
        return ClientSkew.parse(written) if written else None

    @property
    def trained(self) -> tuple[RoundLine, ...]:
        """The rounds in which somebody was asked to train; the closing evaluation is not one."""
        return tuple(line for line in self.rounds if line.cohort)

    def client(self, number: str) -> str:
        """Return the name of a client that a round record names by number, or the text itself."""
        position = int(number) if number.isdigit() else -1
        return self.clients[position] if 0 <= position < len(self.clients) else number

    def scores(self, who: str) -> Scores:
        """Return a contender's test metrics; all unknown if it was not trained."""
        return self.result.scores.get(who, Scores({})) if self.result else Scores({})


def read_run(path: Path) -> RunFolder:
    """Read a run's folder.

    Raises
    ------
    DataError
        If this is no run folder, or a file in it cannot be read.
    """
    if not (path / "run.json").is_file() and not (path / "comparison.json").is_file():
        raise DataError(f"run must be a folder that holds run.json, got {path}; name a folder under runs/")
    result, comparison = _json(path / "result.json"), _json(path / "comparison.json")
    try:
        return RunFolder(
            path,
            _json(path / "run.json"),
            RoundsFile(path / "rounds.jsonl").read(),
            Result.parse(result) if result else None,
            tuple(int(seed) for seed in comparison.get("seeds") or ()),
            tuple(SeedRow.parse(row) for row in comparison.get("rows") or ()),
            _json(path / "model_card.json") or None,
            _text(path / "config.toml"),
            Contest.from_json(comparison["own_rows"]) if comparison.get("own_rows") else None,
        )
    except DataError:
        raise
    except Exception as error:  # what is wrong shows wherever it is first looked at
        raise DataError(f"{path} was not written by this version, or was edited: {error!r}; run again") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8 text: {error}; restore it or run again") from error


def _json(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} must be JSON: {error}; restore it or run again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold one JSON object, got {type(value).__name__}; restore it or run again")
    return value


class RoundsFile:
    """Read rounds.jsonl, and later only what was added to it.

    Where a round was written twice (after a resume) the later line counts. A last line without its end is being
    written, or was when the run stopped, and is left out until it is whole.

    Parameters
    ----------
    path
        The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[int, RoundLine] = {}
        self._file, self._end, self._position = 0, 0, 0

    def read(self) -> tuple[RoundLine, ...]:
        """Return the records, in the order of rounds.

        Raises
        ------
        DataError
            If a line is no round's record.
        """
        for text in self._added().decode("utf-8", errors="replace").splitlines():
            self._position += 1
            if text.strip():
                self._take(text)
        return tuple(self._lines[round] for round in sorted(self._lines))

    def _added(self) -> bytes:
        """Return the whole lines that nobody has read; all of them where the file was replaced or cut."""
        if not self._path.is_file():
            return b""
        with self._path.open("rb") as file:
            now = os.fstat(file.fileno())
            if now.st_ino != self._file or now.st_size < self._end:
                self._lines, self._file, self._end, self._position = {}, now.st_ino, 0, 0
            file.seek(self._end)
            whole, end, _ = file.read().rpartition(b"\n")
        self._end += len(whole) + len(end)
        return whole

    def _take(self, text: str) -> None:
        try:
            line = RoundLine.parse(json.loads(text))
        except Exception as error:
            raise DataError(
                f"{self._path} line {self._position} must be a round's record: {error!r}; resume or run again"
            ) from error
        self._lines[line.round] = line
