"""The best model so far comes to the plants while the run goes on, where the configuration asks for that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from werkbund.core.arrays import Arrays
from werkbund.core.types import RoundRecord
from werkbund.engine import Checkpoint
from werkbund.evaluation import Metrics
from werkbund.federation.families.contract import Setup
from werkbund.federation.folder import Folder
from werkbund.model import CardFacts, model_card
from werkbund.server.delivering import deliver


class Midway:
    """Save checkpoints and note rounds as ever, and deliver the best model every few rounds if it is better.

    Parameters
    ----------
    folder
        The run's.
    setup
        Its parts.
    label
        What the model foretells.
    """

    def __init__(self, folder: Folder, setup: Setup, label: str) -> None:
        self._folder, self._setup, self._label = folder, setup, label
        self._thresholds: dict[int, float] = {}
        self._delivered = 0

    def note(self, record: RoundRecord, scores: Mapping[str, Metrics]) -> None:
        """Note a round, and the threshold of what it scored."""
        self._folder.append_round(record, scores)
        if "validation" in scores:
            self._thresholds[record.scored] = scores["validation"].threshold

    def save(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint, and deliver the best model if it is due."""
        self._folder.save_checkpoint(checkpoint)
        every, round = self._setup.config.federation.deliver_every, checkpoint.round
        best = int(checkpoint.progress.get("best_round", -1))
        due = every > 0 and round > 0 and round % every == 0 and round < self._setup.num_rounds
        if due and best > self._delivered and best in self._thresholds:
            self._deliver(self._setup.restore(checkpoint).at(best, checkpoint.best).learnt, best)
            self._delivered = best

    def _deliver(self, learnt: Arrays, round: int) -> None:
        threshold, config = self._thresholds[round], self._setup.config
        model = self._setup.model(learnt, threshold, self._label)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        facts = CardFacts(self._folder.path.name, created, training={"kept_round": round, "finished": False})
        timeout_s = config.federation.round_timeout_s
        delivered = deliver(self._setup.grid, learnt, threshold, model_card(model, facts), round, timeout_s)
        verdicts = {name: vars(verdict) for name, verdict in delivered.items()}
        self._folder.write_json("delivered.json", {"round": round, "delivered": verdicts})
